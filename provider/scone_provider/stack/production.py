"""What a stack for production (`scone:production`) refuses: whatever is only for testing, place by place."""

from collections.abc import Mapping

from scone_policy.errors import SconeError
from scone_policy.model.security import DEBUG_MODE
from scone_policy.model.session import Session
from scone_policy.syntax import config_fragments
from scone_policy.syntax.yaml_source import Path

SETTING = "scone:production"

Places = Mapping[str, tuple[str, ...]]
"""Place (`file:line`, path) → what stands there and is only for testing."""


def is_production(value: object) -> bool:
    """The stack's `scone:production`. Raises SconeError for anything but true and false: no typo opens a door."""
    if value is None or value is False or value in ("", "false"):
        return False
    if value is True or value == "true":
        return True
    raise SconeError("must be true or false", where=SETTING, fix=f"pulumi config set {SETTING} true")


def refuse_testing(places: Places) -> None:
    """Raise SconeError with every place at which something is only for testing; nothing found is in order."""
    found = {where: ", ".join(names) for where, names in places.items() if names}
    or_else = "or deploy with a stack that is for testing"
    if len(found) == 1:
        ((where, names),) = found.items()
        rule = f"this stack is for production ({SETTING}), and this is only for testing: {names}"
        raise SconeError(rule, where=where, fix=f"remove it, {or_else}")
    if found:
        lines = [f"    {where}: {names}" for where, names in found.items()]
        head = f"this stack is for production ({SETTING}), and these are only for testing:"
        raise SconeError("\n".join([head, *lines]), fix=f"remove them, {or_else}")


def testing_parts(session: Session) -> dict[Path, tuple[str, ...]]:
    """Path → what is only for testing: debug enclaves that are tolerated, services that need not say who they are.

    Fragments whose value stands in the session count as well; what it imports is its owner's.
    """
    attestation = session.security.attestation
    found: dict[Path, tuple[str, ...]] = {}
    if DEBUG_MODE in attestation.tolerate:
        found["security", "attestation", "tolerate"] = (DEBUG_MODE,)
    if attestation.mode == "none" and session.services:
        found["security", "attestation", "mode"] = ("attestation mode none",)
    for name, secret in session.secrets.items():
        if secret.kind == "config-fragment" and secret.value and _tolerates_debug(config_fragments.load(secret.value)):
            found["secrets", name, "value"] = (DEBUG_MODE,)
    return found


def _tolerates_debug(tree: object) -> bool:
    """Whether a fragment names debug enclaves; the short spelling counts where tolerations stand."""
    if isinstance(tree, Mapping):
        inner = tree.get("tolerate")
        short = "debug" in inner if isinstance(inner, list | Mapping) else inner == "debug"
        return short or any(key == DEBUG_MODE or _tolerates_debug(value) for key, value in tree.items())
    if isinstance(tree, list):
        return any(map(_tolerates_debug, tree))
    return tree == DEBUG_MODE
