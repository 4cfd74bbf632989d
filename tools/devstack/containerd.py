"""The container runtime of the local node, and its pause image."""

import io
import json
import tarfile
from pathlib import Path

from tools.devstack import files
from tools.devstack.oci import Image, file_digest
from tools.devstack.paths import REGISTRY, Paths
from tools.devstack.process import Daemon, Supervisor
from tools.devstack.steps import Job

NAME = "containerd"
_PAUSE = "localhost/pause:1"
_POD_SUBNET = "10.244.0.0/24"


def socket(paths: Paths) -> Path:
    """Where containerd listens."""
    return paths.cluster / "containerd.sock"


def is_ready(job: Job, supervisor: Supervisor, paths: Paths) -> bool:
    """Whether containerd runs as configured and has the pause image."""
    return (
        _config(paths).is_file()
        and supervisor.is_current(daemon(paths))
        and _PAUSE
        in job.command("ctr", "-a", socket(paths), "-n", "k8s.io", "images", "list", "-q", timeout=20).split()
    )


def start(job: Job, supervisor: Supervisor, paths: Paths, *, pause: Path) -> None:
    """Write its configuration, start it, import the pause image."""
    write_configuration(paths)
    supervisor.start(daemon(paths))
    job.until(
        lambda: job.succeeds("ctr", "-a", socket(paths), "version"), seconds=30, what="containerd does not answer"
    )
    archive = paths.cluster / "pause.tar"
    files.write(archive, _pause_archive(pause, work=paths.cluster))
    job.command("ctr", "-a", socket(paths), "-n", "k8s.io", "images", "import", archive)


def daemon(paths: Paths) -> Daemon:
    """The process."""
    return Daemon(name=NAME, argv=("containerd", "--config", str(_config(paths))), inputs=(_config(paths),))


def write_configuration(paths: Paths) -> None:
    """Write containerd's own file, the pods' network, and where images of the local registry come from."""
    state = paths.cluster
    files.write(
        _config(paths),
        f"""version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"
[grpc]
  address = "{socket(paths)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  sandbox_image = "{_PAUSE}"
  restrict_oom_score_adj = true # a virtual machine's root may lack CAP_SYS_RESOURCE
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{state}/certs.d"
""",
    )
    addresses = {
        "type": "host-local",
        "dataDir": f"{state}/cni-addresses",
        "ranges": [[{"subnet": _POD_SUBNET}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    files.write_json(
        state / "cni" / "10-bridge.conflist", {"cniVersion": "0.4.0", "name": "local", "plugins": [bridge, portmap]}
    )
    for host in (REGISTRY, "docker.io"):
        text = (
            'server = "http://127.0.0.1:5000"\n[host."http://127.0.0.1:5000"]\n  capabilities = ["pull", "resolve"]\n'
        )
        files.write(state / "certs.d" / host / "hosts.toml", text)


def _config(paths: Paths) -> Path:
    return paths.cluster / "containerd.toml"


def _pause_archive(program: Path, *, work: Path) -> bytes:
    layer = work / "pause-layer.tar"
    layer.write_bytes(_tar({"pause": (program.read_bytes(), 0o755)}))
    image = Image(layer=layer, layer_digest=file_digest(layer), entrypoint=("/pause",))
    listing = json.dumps([{"Config": "config.json", "RepoTags": [_PAUSE], "Layers": ["layer.tar"]}]).encode()
    return _tar(
        {
            "config.json": (image.config, 0o644),
            "layer.tar": (layer.read_bytes(), 0o644),
            "manifest.json": (listing, 0o644),
        }
    )


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
