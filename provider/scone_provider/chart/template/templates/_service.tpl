{{/* Labels that never change over the life of a release: what selectors use. */}}
{{- define "scone.selector" -}}
app.kubernetes.io/name: {{ .name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{- define "scone.labels" -}}
{{ include "scone.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
app.kubernetes.io/part-of: {{ .root.Release.Name | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- include "scone.texts" .service.labels }}
{{- end }}

{{/* A map of texts, a line each. Whatever stands in a name or a value, it stays inside of its quotes. */}}
{{- define "scone.texts" -}}
{{- range $key, $value := . }}
{{ $key | quote }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Names of the volumes that outlive a pod, empty when there are none. */}}
{{- define "scone.claims" -}}
{{- range $volume, $entry := .volumes }}{{ if $entry.size }}{{ $volume }} {{ end }}{{ end }}
{{- end }}

{{/* The pod of one service. `restartPolicy` is the caller's: Deployments know Always only. */}}
{{- define "scone.pod" -}}
metadata:
  labels:
    {{- include "scone.labels" . | nindent 4 }}
  annotations:
    scone/policy-digest: {{ .service.policyDigest | quote }}
    {{- include "scone.texts" .service.annotations | indent 4 }}
spec:
  restartPolicy: {{ .restartPolicy | quote }}
  {{- with .service.drainSeconds }}
  terminationGracePeriodSeconds: {{ add 30 . }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .service.pullSecrets }}
  imagePullSecrets:
    {{- range $secret, $_ := . }}
    - name: {{ $secret | quote }}
    {{- end }}
  {{- end }}
  {{- if or .service.nodeSelector (eq .service.sgx "scone") }}
  nodeSelector:
    {{- if eq .service.sgx "scone" }}
    las.scontain.com/ok: "true"
    {{- end }}
    {{- include "scone.texts" .service.nodeSelector | indent 4 }}
  {{- end }}
  {{- with .service.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: {{ .name | quote }}
      image: {{ .service.image | quote }}
      imagePullPolicy: IfNotPresent
      terminationMessagePath: /dev/termination-log
      terminationMessagePolicy: File
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities:
          drop: ["ALL"]
      env:
        - name: SCONE_CONFIG_ID
          value: {{ .service.configId | quote }}
        - name: SCONE_CAS_ADDR
          value: {{ .service.cas | quote }}
        - name: SCONE_LAS_ADDR
          valueFrom:
            fieldRef:
              fieldPath: status.hostIP
        {{- with .service.casKey }}
        - name: SCONE_CAS_KEY
          value: {{ . | quote }}
        {{- end }}
        {{- range $variable, $value := .service.env }}
        - name: {{ $variable | quote }}
          value: {{ $value | quote }}
        {{- end }}
      {{- if .service.port }}
      ports:
        - name: service
          containerPort: {{ int .service.port }}
      {{- end }}
      {{- with .service.drainSeconds }}
      # Requests still arrive while the nodes learn that this pod goes: it serves them before it is told to end.
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int . }}
      {{- end }}
      {{- if .service.probes }}
      {{- range $key, $value := .service.probes }}
      {{ $key | quote }}: {{ toJson $value }}
      {{- end }}
      {{- else if and .service.drainSeconds .service.port }}
      # An old pod goes when this one is ready: it must listen by then.
      readinessProbe:
        tcpSocket:
          port: service
        periodSeconds: 1
        failureThreshold: 120
      {{- else }}
      # Ready means: attested, verified, decrypted, which does not pass. It is asked until then only: each time costs a
      # process. The launcher itself says when it gives up. A service that knows better brings its own `probes`.
      startupProbe:
        exec:
          command: ["/.scone/launcher", "ready"]
        periodSeconds: 1
        failureThreshold: 4000
      {{- end }}
      {{- $resources := .service.resources | default dict | deepCopy }}
        {{- $limits := $resources.limits | default dict }}
        {{- if eq .service.sgx "scone" }}
        {{- $_ := set $limits "sgx.k8s.io/sgx" "1" }}
        {{- else if eq .service.sgx "azure" }}
        {{- $_ := set $limits "sgx.intel.com/epc" (printf "%vMi" (.service.epcMem | default 64)) }}
        {{- end }}
        {{- if $limits }}
        {{- $_ := set $resources "limits" $limits }}
        {{- end }}
      resources: {{ toJson $resources }}
      volumeMounts:
        - name: scone-memory
          mountPath: /.scone/memory
        {{- range $path, $size := .service.memory }}
        - name: m-{{ sha256sum $path | trunc 10 }}
          mountPath: {{ $path | quote }}
        {{- end }}
        {{- range $volume, $entry := .service.volumes }}
        - name: v-{{ sha256sum $volume | trunc 10 }}
          mountPath: {{ $entry.path | quote }}
        {{- end }}
  volumes:
    - name: scone-memory
      emptyDir:
        medium: Memory
        sizeLimit: 16Mi
    {{- range $path, $size := .service.memory }}
    - name: m-{{ sha256sum $path | trunc 10 }}
      emptyDir:
        medium: Memory
        sizeLimit: {{ $size | quote }}
    {{- end }}
    {{- $name := .name }}
    {{- $release := .root.Release.Name }}
    {{- range $volume, $entry := .service.volumes }}
    - name: v-{{ sha256sum $volume | trunc 10 }}
      {{- if $entry.size }}
      persistentVolumeClaim:
        claimName: {{ include "scone.claim" (dict "release" $release "name" $name "volume" $volume) | quote }}
      {{- else if $entry.medium }}
      emptyDir:
        medium: {{ $entry.medium | quote }}
        sizeLimit: {{ $entry.limit | default "64Mi" | quote }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
{{- end }}

{{/* `<release>-<name>-<suffix>` in 63 characters: the front is cut, never what tells two apart. */}}
{{- define "scone.suffixed" -}}
{{- $front := printf "%s-%s" .release .name | trunc (int (sub 62 (len .suffix))) | trimSuffix "-" -}}
{{ printf "%s-%s" $front .suffix }}
{{- end }}

{{/* The claim of one volume. Two services may be cut to one front: then the suffix is over their names, too. */}}
{{- define "scone.claim" -}}
{{- $whole := printf "%s-%s" .release .name -}}
{{- $told := ternary .volume (printf "%s/%s" $whole .volume) (le (len $whole) 52) -}}
{{ include "scone.suffixed" (dict "release" .release "name" .name "suffix" (sha256sum $told | trunc 10)) }}
{{- end }}
