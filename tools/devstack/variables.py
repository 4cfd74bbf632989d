"""The variables under which Pulumi, kubectl and the provider see the development stack."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.devstack import files
from tools.devstack.paths import BUILDER, REGISTRY, Paths
from tools.devstack.settings import Target

# What a user may have set for their own stacks must not reach the demo's or a test's.
_FOREIGN = ("PULUMI_", "SCONE_", "KUBE")


def additions(
    paths: Paths,
    *,
    target: Target | None = None,
    work: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Variables on top of the user's own (`environ`), without PATH. See `environment`."""
    target = target or Target()
    work = work or work_folder(paths, target=target)
    values = {
        "KUBECONFIG": str(kubeconfig(paths, target=target)),
        "PULUMI_BACKEND_URL": f"file://{work / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(work / "passphrase"),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(paths.pulumi_home),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    if not target.named:
        values["PULUMI_SCONE_REGISTRY_MIRRORS"] = f"docker.io={REGISTRY}"
        if not has_builder(environ or {}):
            values |= {"BUILDX_BUILDER": BUILDER, "BUILDX_CONFIG": str(paths.buildx)}
    return values


def environment(
    paths: Paths | None = None,
    *,
    work: Path | None = None,
    target: Target | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The whole environment for a program that works with the development stack.

    `work` is the folder of backend and passphrase (a test gives its own, see `prepare`); PULUMI_HOME with
    its plugins is shared. PATH starts with the virtual environment and the toolchain. The user's own PULUMI_…, SCONE_…
    and KUBE… variables are left out.
    """
    paths = paths or Paths.of()
    environ = os.environ if environ is None else environ
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
    path = f"{paths.venv / 'bin'}:{paths.bin}:{kept.get('PATH', os.defpath)}"
    return kept | {"PATH": path} | additions(paths, target=target, work=work, environ=environ)


def has_builder(environ: Mapping[str, str]) -> bool:
    """Whether the user names a builder of their own for docker-build, as buildx's own command line lets them."""
    return environ.get("BUILDX_BUILDER", "") not in ("", BUILDER)


def work_folder(paths: Paths, *, target: Target) -> Path:
    """Backend, passphrase and settings of the demo's stack; a named cluster has its own."""
    return paths.state / ("demo-named" if target.named else "demo")


def kubeconfig(paths: Paths, *, target: Target) -> Path:
    """Access to the cluster in use."""
    return paths.state / "named.kubeconfig" if target.named else paths.kubeconfig


def prepare(work: Path) -> None:
    """Make the backend and, once, the passphrase in `work`."""
    (work / "backend").mkdir(parents=True, exist_ok=True)
    passphrase = work / "passphrase"
    if not passphrase.exists():
        files.write(passphrase, secrets.token_urlsafe(32))
