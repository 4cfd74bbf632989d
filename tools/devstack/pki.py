"""Keys and certificates of the local cluster, one identity per component, made with OpenSSL."""

import base64
from dataclasses import dataclass
from pathlib import Path

from tools.devstack import files
from tools.devstack.paths import NODE_ADDRESS, Paths
from tools.devstack.steps import Job

_DAYS = 365
_DAY_SECONDS = 86400
SERVICE_ADDRESS = "10.96.0.1"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate: file `name`, `subject` as OpenSSL writes it, `names` as a subjectAltName."""

    name: str
    subject: str
    names: str


_KUBERNETES = ",".join(
    f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")
)
IDENTITIES = (
    Identity(
        name="apiserver",
        subject="/CN=kube-apiserver",
        names=f"{_KUBERNETES},IP:127.0.0.1,IP:{NODE_ADDRESS},IP:{SERVICE_ADDRESS}",
    ),
    Identity(name="admin", subject="/O=system:masters/CN=admin", names="DNS:admin"),
    Identity(
        name="kubelet-client", subject="/O=system:masters/CN=kube-apiserver-kubelet-client", names="DNS:kubelet-client"
    ),
    Identity(name="controllers", subject="/CN=system:kube-controller-manager", names="DNS:controllers"),
    Identity(name="scheduler", subject="/CN=system:kube-scheduler", names="DNS:scheduler"),
    Identity(name="proxy", subject="/CN=system:kube-proxy", names="DNS:proxy"),
    Identity(name="dns", subject="/CN=system:coredns", names="DNS:dns"),
    Identity(
        name="node", subject="/O=system:nodes/CN=system:node:local", names=f"DNS:local,IP:{NODE_ADDRESS},IP:127.0.0.1"
    ),
)
_CLIENTS = {"admin", "controllers", "scheduler", "proxy", "dns", "node"}


def folder(paths: Paths) -> Path:
    """Where keys and certificates are."""
    return paths.cluster / "pki"


def kubeconfig(paths: Paths, name: str) -> Path:
    """Access to the cluster as identity `name`."""
    return paths.kubeconfig if name == "admin" else paths.cluster / f"{name}.kubeconfig"


def is_ready(job: Job, paths: Paths) -> bool:
    """Whether the keys exist and will not expire within a day."""
    ca = folder(paths) / "ca.crt"
    return (
        all(kubeconfig(paths, name).is_file() for name in _CLIENTS)
        and ca.is_file()
        and job.succeeds("openssl", "x509", "-checkend", str(_DAY_SECONDS), "-noout", "-in", ca)
    )


def make(job: Job, paths: Paths) -> None:
    """Make an authority, all identities, the service accounts' key, and a kubeconfig for each client."""
    files.publish(folder(paths), lambda target: _fill(job, target))
    for name in _CLIENTS:
        files.write_json(kubeconfig(paths, name), _access(folder(paths), name))


def _fill(job: Job, target: Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = (
        "-x509",
        "-days",
        str(_DAYS),
        "-subj",
        "/CN=pulumi-scone local cluster",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    job.command("openssl", "req", *authority, *curve, "-keyout", "ca.key", "-out", "ca.crt", cwd=target)
    for identity in IDENTITIES:
        files.write(target / "extensions", f"subjectAltName={identity.names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        job.command(
            "openssl",
            "req",
            *curve,
            "-subj",
            identity.subject,
            "-keyout",
            f"{identity.name}.key",
            "-out",
            "request",
            cwd=target,
        )
        signing = (
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            str(_DAYS),
            "-extfile",
            "extensions",
        )
        job.command("openssl", "x509", "-req", "-in", "request", *signing, "-out", f"{identity.name}.crt", cwd=target)
    job.command("openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", "accounts.key", cwd=target)
    job.command("openssl", "ec", "-in", "accounts.key", "-pubout", "-out", "accounts.pub", cwd=target)
    for file in target.iterdir():
        file.chmod(0o600)


def _access(source: Path, name: str) -> dict[str, object]:
    def data(file: str) -> str:
        return base64.b64encode((source / file).read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": f"https://{NODE_ADDRESS}:6443", "certificate-authority-data": data("ca.crt")},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")},
            }
        ],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
    }
