"""The local cluster's processes: store, API server, controllers, scheduler, node, proxy, DNS."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tools.devstack import containerd, files, pki
from tools.devstack.paths import CAS_CLIENT_PORT, CAS_ENCLAVE_PORT, NODE_ADDRESS, Paths
from tools.devstack.process import Daemon, Supervisor
from tools.devstack.steps import Job

_PODS = "10.244.0.0/16"
_SERVICES = "10.96.0.0/16"
_DNS = "10.96.0.10"
_STORE = "http://127.0.0.1:2379"
_STORE_PEERS = "http://127.0.0.1:2380"
CONTROL_PLANE = ("etcd", "apiserver", "controllers", "scheduler")
NODE = ("kubelet", "proxy", "dns")
_LOOPBACK = "--bind-address=127.0.0.1"
_LISTENING = {
    "etcd": (("127.0.0.1", 2379), ("127.0.0.1", 2380)),
    "apiserver": ((NODE_ADDRESS, 6443),),
    "controllers": (("127.0.0.1", 10257),),
    "scheduler": (("127.0.0.1", 10259),),
    "kubelet": ((NODE_ADDRESS, 10250), ("127.0.0.1", 10248)),
    "proxy": (("127.0.0.1", 10249), ("127.0.0.1", 10256)),
    "dns": ((NODE_ADDRESS, 1053),),
}
"""Address and port of each process."""


def daemons(paths: Paths, *, programs: Path) -> dict[str, Daemon]:
    """Every process of the cluster but containerd, by name."""
    argv = {**_store(paths, programs), **_control(paths, programs), **_node(paths, programs)}
    inputs = (pki.folder(paths) / "ca.crt", _kubelet_config(paths), _corefile(paths))
    return {name: Daemon(name=name, argv=words, ports=_LISTENING[name], inputs=inputs) for name, words in argv.items()}


def _store(paths: Paths, programs: Path) -> dict[str, tuple[str, ...]]:
    """The store, and the API server before it."""
    keys = pki.folder(paths)
    return {
        "etcd": (
            "etcd",
            f"--data-dir={paths.cluster / 'etcd'}",
            f"--listen-client-urls={_STORE}",
            f"--advertise-client-urls={_STORE}",
            f"--listen-peer-urls={_STORE_PEERS}",
            f"--initial-advertise-peer-urls={_STORE_PEERS}",
            f"--initial-cluster=default={_STORE_PEERS}",
            "--unsafe-no-fsync",  # survives kill -9; a cluster for trying out need not survive a power cut
        ),
        "apiserver": (
            str(programs / "kube-apiserver"),
            f"--etcd-servers={_STORE}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--tls-cert-file={keys / 'apiserver.crt'}",
            f"--tls-private-key-file={keys / 'apiserver.key'}",
            f"--client-ca-file={keys / 'ca.crt'}",
            f"--service-account-key-file={keys / 'accounts.pub'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false",
            "--allow-privileged",
            f"--kubelet-certificate-authority={keys / 'ca.crt'}",
            f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
            f"--kubelet-client-key={keys / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
            "--enable-admission-plugins=NodeRestriction",
            f"--advertise-address={NODE_ADDRESS}",
            f"--bind-address={NODE_ADDRESS}",
        ),
    }


def _control(paths: Paths, programs: Path) -> dict[str, tuple[str, ...]]:
    """Who brings about what is stored."""
    keys = pki.folder(paths)
    return {
        "controllers": (
            str(programs / "kube-controller-manager"),
            f"--kubeconfig={pki.kubeconfig(paths, 'controllers')}",
            f"--service-account-private-key-file={keys / 'accounts.key'}",
            f"--root-ca-file={keys / 'ca.crt'}",
            "--use-service-account-credentials",
            f"--cluster-cidr={_PODS}",
            "--allocate-node-cidrs=false",
            "--leader-elect=false",
            f"--flex-volume-plugin-dir={paths.cluster / 'volume-plugins'}",
            _LOOPBACK,
        ),
        "scheduler": (
            str(programs / "kube-scheduler"),
            f"--kubeconfig={pki.kubeconfig(paths, 'scheduler')}",
            "--leader-elect=false",
            _LOOPBACK,
        ),
    }


def _node(paths: Paths, programs: Path) -> dict[str, tuple[str, ...]]:
    """Who runs pods and lets them find each other."""
    return {
        "kubelet": (
            str(programs / "kubelet"),
            f"--config={_kubelet_config(paths)}",
            f"--kubeconfig={pki.kubeconfig(paths, 'node')}",
            "--hostname-override=local",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={paths.cluster / 'kubelet'}",
            "--node-labels=las.scontain.com/ok=true",  # where SCONE's charts schedule to
        ),
        "proxy": (
            str(programs / "kube-proxy"),
            f"--kubeconfig={pki.kubeconfig(paths, 'proxy')}",
            f"--cluster-cidr={_PODS}",
            "--hostname-override=local",
            "--proxy-mode=iptables",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            "--conntrack-max-per-core=0",  # the machine's own limits stay
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ),
        "dns": (str(programs / "coredns"), "-conf", str(_corefile(paths))),
    }


def is_up(job: Job, supervisor: Supervisor, paths: Paths, *, programs: Path, names: tuple[str, ...]) -> bool:
    """Whether the processes `names` run as described and the API server says that it is ready."""
    wanted = daemons(paths, programs=programs)
    return all(supervisor.is_current(wanted[name]) for name in names) and job.succeeds(
        *kubectl(paths, "get", "--raw", "/readyz")
    )


def start_control_plane(job: Job, supervisor: Supervisor, paths: Paths, *, programs: Path) -> None:
    """Start what is down or out of date of store, API server, controllers and scheduler."""
    _write_configuration(paths)
    wanted = daemons(paths, programs=programs)
    for name in CONTROL_PLANE:
        _start(job, supervisor, wanted[name])
        _settle(job, supervisor, wanted[name])
        if name == "apiserver":
            up = partial(job.succeeds, *kubectl(paths, "get", "--raw", "/readyz"))
            job.until(up, seconds=90, what=_silent(supervisor, name))


def start_node(job: Job, supervisor: Supervisor, paths: Paths, *, programs: Path) -> None:
    """Start kubelet, proxy and DNS, announce DNS and CAS as Services, wait until the node takes pods."""
    _write_configuration(paths)
    everything = files.json_text({"apiVersion": "v1", "kind": "List", "items": _objects()})
    job.command(*kubectl(paths, "apply", "--server-side", "--force-conflicts", "-f", "-"), text=everything)
    wanted = [daemons(paths, programs=programs)[name] for name in NODE]
    for daemon in wanted:
        _start(job, supervisor, daemon)
    for daemon in wanted:
        _settle(job, supervisor, daemon)
    job.say("waiting for the node")
    job.until(lambda: takes_pods(job, paths), seconds=90, what=_silent(supervisor, "kubelet"))


def _start(job: Job, supervisor: Supervisor, daemon: Daemon) -> None:
    if not supervisor.is_current(daemon):
        job.say(daemon.name)
        supervisor.start(daemon)


def _settle(job: Job, supervisor: Supervisor, daemon: Daemon) -> None:
    """Wait until a process listens."""
    job.until(lambda: supervisor.is_current(daemon), seconds=60, what=_silent(supervisor, daemon.name))


def takes_pods(job: Job, paths: Paths) -> bool:
    """Whether the node is ready, pods get their service account, and the CAS has its name."""
    ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
    return job.succeeds(
        *kubectl(paths, "get", "serviceaccount/default", "service/cas", "-n", "default")
    ) and job.command(*kubectl(paths, "get", "nodes", "-o", f"jsonpath={ready}"), timeout=20).split() == ["True"]


def kubectl(paths: Paths, *words: str) -> tuple[str, ...]:
    """A kubectl command on the local cluster."""
    return ("kubectl", f"--kubeconfig={paths.kubeconfig}", f"--cache-dir={paths.state / 'kubectl'}", *words)


def _silent(supervisor: Supervisor, name: str) -> str:
    return f"{name} is not ready (see {supervisor.log_of(name)})"


def _kubelet_config(paths: Paths) -> Path:
    return paths.cluster / "kubelet.json"


def _corefile(paths: Paths) -> Path:
    return paths.cluster / "Corefile"


def _write_configuration(paths: Paths) -> None:
    keys = pki.folder(paths)
    files.write_json(
        _kubelet_config(paths),
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(keys / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "tlsCertFile": str(keys / "node.crt"),
            "tlsPrivateKeyFile": str(keys / "node.key"),
            "clusterDNS": [_DNS],
            "clusterDomain": "cluster.local",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": str(paths.cluster / "pod-logs"),
            "volumePluginDir": str(paths.cluster / "volume-plugins"),
            "containerRuntimeEndpoint": f"unix://{containerd.socket(paths)}",
        },
    )
    files.write(
        _corefile(paths),
        f""".:1053 {{
    bind {NODE_ADDRESS}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local {{
        kubeconfig {pki.kubeconfig(paths, "dns")} local
    }}
    cache 5
}}
""",
    )


def _service(
    name: str, namespace: str, *, ports: list[Mapping[str, object]], address: str | None
) -> list[Mapping[str, object]]:
    """A Service that leads to processes of this machine."""
    place = {"name": name, "namespace": namespace}
    spec = {
        "ports": [
            {"name": p["name"], "port": p["port"], "protocol": p["protocol"], "targetPort": p["target"]} for p in ports
        ]
    }
    ends = [{"name": p["name"], "port": p["target"], "protocol": p["protocol"]} for p in ports]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": place,
            "spec": spec | ({"clusterIP": address} if address else {}),
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-local",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": ends,
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        },
    ]


def _objects() -> list[Mapping[str, object]]:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "system:coredns"}}
    reading = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    dns: list[Mapping[str, object]] = [
        {"name": "dns", "port": 53, "target": 1053, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "target": 1053, "protocol": "TCP"},
    ]
    cas: list[Mapping[str, object]] = [
        {"name": "client", "port": CAS_CLIENT_PORT, "target": CAS_CLIENT_PORT, "protocol": "TCP"},
        {"name": "enclave", "port": CAS_ENCLAVE_PORT, "target": CAS_ENCLAVE_PORT, "protocol": "TCP"},
    ]
    return [
        role | {"kind": "ClusterRole", "rules": reading},
        role
        | {
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
        *_service("kube-dns", "kube-system", ports=dns, address=_DNS),
        *_service("cas", "default", ports=cas, address=None),
    ]
