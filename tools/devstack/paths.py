"""Where the development stack keeps its things: state in the project, what is dear to rebuild in the user's cache."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE_ADDRESS = "10.123.0.1"  # of our own bridge: pods and this machine reach it, nothing outside does
REGISTRY = "localhost:5000"
BUILDER = "pulumi-scone"  # of buildx, for docker-build
CAS_URL = "cas.default"
CAS_CLIENT_PORT = 8081
CAS_ENCLAVE_PORT = 18765


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The folders of one checkout. `cache` is shared by all checkouts of this user."""

    root: Path
    cache: Path

    @classmethod
    def of(cls, root: Path | None = None, *, environ: Mapping[str, str] | None = None) -> "Paths":
        """Paths of the checkout that holds this file, or of `root`."""
        environ = os.environ if environ is None else environ
        base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
        return cls(root=root or Path(__file__).resolve().parents[2], cache=Path(base) / "pulumi-scone")

    @property
    def state(self) -> Path:
        """Everything that `down` removes (0700)."""
        return self.root / ".devstack"

    @property
    def run(self) -> Path:
        """One record per process that was started."""
        return self.state / "run"

    @property
    def log(self) -> Path:
        """One log per step and per process."""
        return self.state / "log"

    @property
    def bin(self) -> Path:
        """The toolchain's programs that people call: pulumi and its hosts."""
        return self.state / "bin"

    @property
    def venv(self) -> Path:
        """The project's virtual environment."""
        return self.root / ".venv"

    @property
    def modules(self) -> Path:
        """The Go modules that the toolchain is built from."""
        return self.root / "tools" / "devstack" / "toolchain"

    @property
    def constraints(self) -> Path:
        """Versions of Python packages that must be those of the toolchain."""
        return self.root / "tools" / "devstack" / "constraints.txt"

    @property
    def lock(self) -> Path:
        """Versions of all Python packages, so that a release elsewhere never breaks a run of ours."""
        return self.root / "tools" / "devstack" / "lock.txt"

    @property
    def pulumi_home(self) -> Path:
        """PULUMI_HOME: plugins and workspaces."""
        return self.state / "pulumi"

    @property
    def buildkit(self) -> Path:
        """Socket, settings and data of BuildKit."""
        return self.state / "buildkit"

    @property
    def buildx(self) -> Path:
        """BUILDX_CONFIG: where docker-build finds the builder."""
        return self.state / "buildx"

    @property
    def kubeconfig(self) -> Path:
        """Administrator's access to the local cluster (0600)."""
        return self.state / "admin.kubeconfig"

    @property
    def cluster(self) -> Path:
        """Keys, configuration and data of the local cluster."""
        return self.state / "cluster"
