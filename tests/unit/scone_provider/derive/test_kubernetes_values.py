"""`helm_extra_values` as Kubernetes judges them: quoted, counted and refused before Helm sees them."""

from typing import Any

import pytest

from scone_policy.syntax.holes import Holes
from scone_provider.derive.extra_values import extra_values
from scone_provider.derive.kubernetes_values import Fitting
from scone_provider.derive.variables import mesh_variables
from scone_provider.errors import ManifestError
from scone_provider.manifest import load_mesh
from scone_provider.manifest.findings import Findings

TAKEN: dict[str, tuple[str, Any]] = {
    "a number as a label": ("labels: {ticket: 356136738}", {"labels": {"ticket": "356136738"}}),
    "a version as a label": ("labels: {version: 1.10}", {"labels": {"version": "1.10"}}),
    "a switch as an annotation": (
        "annotations: {prometheus.io/scrape: true, prometheus.io/port: 8080}",
        {"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
    ),
    "a switch as a node's label": ("nodeSelector: {sgx: true}", {"nodeSelector": {"sgx": "true"}}),
    "text as it is": ('labels: {tier: front, on: "yes"}', {"labels": {"tier": "front", "on": "yes"}}),
    "an empty label": ('labels: {tier: ""}', {"labels": {"tier": ""}}),
    "a toleration's value": (
        "tolerations: [{key: sgx, operator: Equal, value: 5, effect: NoSchedule}]",
        {"tolerations": [{"key": "sgx", "operator": "Equal", "value": "5", "effect": "NoSchedule"}]},
    ),
    "a number as text": (
        'probes: {livenessProbe: {httpGet: {path: /, port: http}, periodSeconds: "5"}}',
        {"probes": {"livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5}}},
    ),
    "a command's number": (
        "probes: {readinessProbe: {exec: {command: [nc, -z, localhost, 8080]}}}",
        {"probes": {"readinessProbe": {"exec": {"command": ["nc", "-z", "localhost", "8080"]}}}},
    ),
    "amounts": (
        "resources: {limits: {cpu: 0.5, memory: 1Gi}, requests: {cpu: 100m, memory: 512Mi}}",
        {"resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "512Mi"}}},
    ),
    "a count": ('replicas: "3"', {"replicas": "3"}),
    "variables": ("labels: {site: '{{site}}'}", {"labels": {"site": "7"}}),
}

REFUSED = {
    "a label's value": ("labels: {a: 'b c'}", "labels.a", "the value of a label"),
    "a label's key": ("labels: {'a b': c}", "labels.a b", "the name of a key"),
    "a label's domain": ("labels: {Exa_mple/a: c}", "labels.Exa_mple/a", "a domain in lower case"),
    "a long label": (f"labels: {{a: {'x' * 64}}}", "labels.a", "at most 63"),
    "a list as a label": ("labels: {a: [b]}", "labels.a", "must be text, not a list or a map"),
    "labels as a list": ("labels: [a]", "labels", "must be a map"),
    "a label of the chart": (
        "labels: {app.kubernetes.io/name: x}",
        "labels.app.kubernetes.io/name",
        "set by the chart",
    ),
    "an annotation of the chart": ("annotations: {scone/policy-digest: x}", "annotations.scone", "set by the chart"),
    "an amount": ("resources: {limits: {memory: 1 GB}}", "resources.limits.memory", "must be a quantity"),
    "a negative amount": ("resources: {limits: {cpu: -1}}", "resources.limits.cpu", "must not be negative"),
    "more than the limit": (
        "resources: {limits: {memory: 1Gi}, requests: {memory: 2048Mi}}",
        "resources.requests.memory",
        "must not be more than the limit",
    ),
    "an unknown key": ("resources: {limit: {cpu: 1}}", "resources.limit", "did you mean limits?"),
    "an unknown key deep": (
        "probes: {livenessProbe: {httpGet: {port: 1, pth: /}}}",
        "probes.livenessProbe.httpGet.pth",
        "did you mean path?",
    ),
    "a missing key": ("probes: {livenessProbe: {httpGet: {path: /}}}", "probes.livenessProbe.httpGet", "needs port"),
    "no handler": ("probes: {livenessProbe: {periodSeconds: 3}}", "probes.livenessProbe", "exactly one of exec"),
    "two handlers": (
        "probes: {startupProbe: {tcpSocket: {port: 1}, exec: {command: [a]}}}",
        "probes.startupProbe",
        "exactly one of exec",
    ),
    "no number": (
        "probes: {startupProbe: {tcpSocket: {port: 1}, periodSeconds: soon}}",
        "probes.startupProbe.periodSeconds",
        "must be a whole number",
    ),
    "a small number": (
        "probes: {startupProbe: {tcpSocket: {port: 1}, periodSeconds: 0}}",
        "probes.startupProbe.periodSeconds",
        "must be at least 1",
    ),
    "a port": ("probes: {startupProbe: {tcpSocket: {port: 99999}}}", "tcpSocket.port", "a port from 1 to 65535"),
    "a port's name": ("probes: {startupProbe: {tcpSocket: {port: A_B}}}", "tcpSocket.port", "its name of at most 15"),
    "a scheme": ("probes: {startupProbe: {httpGet: {port: 1, scheme: ftp}}}", "httpGet.scheme", "HTTP or HTTPS"),
    "a success": (
        "probes: {livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}}",
        "livenessProbe.successThreshold",
        "must be 1 for a livenessProbe",
    ),
    "the chart's container": ("probes: {image: x}", "probes.image", "set by the chart"),
    "tolerations as a map": ("tolerations: {key: a}", "tolerations", "must be a list"),
    "an effect": ("tolerations: [{key: a, operator: Exists, effect: Never}]", "tolerations[0].effect", "NoExecute"),
    "an operator": ("tolerations: [{key: a, operator: Is}]", "tolerations[0].operator", "must be one of Exists, Equal"),
    "a value too much": (
        "tolerations: [{key: a, operator: Exists, value: b}]",
        "tolerations[0].value",
        "must be empty",
    ),
    "no key": ("tolerations: [{value: b}]", "tolerations[0]", "the operator must be Exists"),
    "a replica": ("replicas: many", "replicas", "must be a whole number"),
}


def extra(text: str, warnings: list[str] | None = None) -> dict[str, Any]:
    """What becomes of these values of the service `api`, in the chart's values."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    mesh = load_mesh(
        {
            "cas": [{"cas_url": "cas.example", "alias": ["image", "security", "access", "attestation"]}],
            "policy": {"namespace": "acme"},
            "env": [{"service": "helm", "env": [{"name": "site", "value": "7"}]}],
            "services": [{"name": "api", "image": "r.test/api:1"}],
            "helm_extra_values": f"services:\n  api:\n{lines}",
        },
        file="<mesh>",
    )
    findings = Findings()
    variables = mesh_variables(mesh, release="r", cas_keys={}, findings=findings)
    found = extra_values(mesh, variables, names={"api": "api"}, warnings=[] if warnings is None else warnings)
    findings.stop()
    service: dict[str, Any] = found["services"]["api"]
    return service


@pytest.mark.parametrize(("text", "wanted"), TAKEN.values(), ids=TAKEN)
def test_what_can_mean_one_thing_only(text: str, wanted: Any) -> None:
    """What Kubernetes wants as text is text, as it was written; what it counts is a number."""
    assert extra(text) == wanted


@pytest.mark.parametrize(("text", "place", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_server_would_refuse(text: str, place: str, rule: str) -> None:
    """A value that Kubernetes refuses is an error in the preview, with its line."""
    with pytest.raises(ManifestError) as refusal:
        extra(text)
    assert place in str(refusal.value)
    assert rule in str(refusal.value)
    assert "(line 3 of the text)" in str(refusal.value)


def test_everything_at_once() -> None:
    """All of it is told, each with its own line."""
    with pytest.raises(ManifestError) as refusal:
        extra("labels:\n  a: 'b c'\nreplicas: many")
    assert "services.api.labels.a (line 4 of the text)" in str(refusal.value)
    assert "services.api.replicas (line 5 of the text)" in str(refusal.value)


def test_a_key_that_nothing_reads_warns() -> None:
    """A misspelt key of a service would have no effect."""
    warnings: list[str] = []
    extra("lables: {a: b}", warnings)
    (warning,) = warnings
    assert "services.api.lables (line 3 of the text) has no effect" in warning
    assert "did you mean labels?" in warning


def test_values_that_are_known_later() -> None:
    """An Output becomes what Kubernetes wants as soon as it is known; until then nothing is said about it."""
    holes, told = Holes(), []
    label, count, port = holes.punch(None), holes.punch(None), holes.punch(None)

    def later(text: str, function: Any) -> str:
        told.append((text, function("5")))
        return text

    fitting = Fitting(refuse=lambda path, rule: pytest.fail(f"{path}: {rule}"), later=later)
    values = {
        "labels": {"a": label},
        "replicas": count,
        "probes": {"startupProbe": {"tcpSocket": {"port": port}, "periodSeconds": count}},
    }
    assert fitting.service(values, ("services", "api")) == values
    assert told == [(label, "5"), (count, 5), (count, 5)]
