"""Which cluster to use: our own local one, or one that the user names with all it takes."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tools.devstack.errors import DevstackError

_VARIABLES = ("KUBE_CONTEXT", "REGISTRY", "CAS_HOST")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*")
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-fA-F:]+")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A user's cluster. All empty: the local cluster.

    `context` of their kubeconfig, `registry` as host[:port][/path], `cas_host` as an address of this machine that the
    pods reach too.
    """

    context: str = ""
    registry: str = ""
    cas_host: str = ""

    @property
    def named(self) -> bool:
        """Whether the user named a cluster of their own."""
        return bool(self.context)

    def as_dict(self) -> dict[str, str]:
        """For the record that `down` reads."""
        return asdict(self)


def target(environ: Mapping[str, str]) -> Target:
    """The target that `environ` names. Raises DevstackError where only some variables are given or one is malformed."""
    given = {name: environ.get(name, "").strip() for name in _VARIABLES}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(_VARIABLES):
        return Target()
    if missing:
        named = ", ".join(name for name in _VARIABLES if name not in missing)
        raise DevstackError(
            f"{named} given without {', '.join(missing)}",
            where="your own cluster",
            fix="give all of KUBE_CONTEXT, REGISTRY and CAS_HOST to use it, or none of them for a local cluster",
        )
    for name, pattern, shape in (
        ("REGISTRY", _REGISTRY, "host[:port][/path]"),
        ("CAS_HOST", _HOST, "a host name or address"),
    ):
        if not pattern.fullmatch(given[name]):
            raise DevstackError(
                f"{name}={given[name]!r} is not {shape}",
                where="your own cluster",
                fix=f"write {name} as {shape}, without a scheme",
            )
    return Target(context=given["KUBE_CONTEXT"], registry=given["REGISTRY"], cas_host=given["CAS_HOST"])
