"""What CAS generated inside of itself, and what loses it: nobody can bring such a value back."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from scone_policy.diff.regeneration import Renewal, changes_values, renewals
from scone_policy.model.session import Session
from scone_policy.syntax.holes import has_hole
from scone_provider.policy.history import Parse, Walk
from scone_provider.policy.properties import Props, is_other_policy, policy_of

SHARED = "(shared)"
"""Role in a mesh of the policy that holds what services share; no service can have this name."""
_DRAWN = ("ascii", "binary", "private-key", "pgp-key")


def keys_made_anew(before: Session, after: Session) -> list[str]:
    """Secrets of both versions that CAS makes anew for any successor: private keys without `migrate: true`, mostly."""
    canonical = before.canonical()
    lost = {one.name for one in renewals(canonical, canonical) if one.section == "secrets" and one.is_loss}
    return sorted(lost & {name for name, secret in after.secrets.items() if secret.is_generated})


def renewed(olds: Props, canonical: Mapping[str, Any], revision: object) -> list[Renewal]:
    """What the update from these old inputs makes anew or forgets; nothing where none will happen."""
    if not olds.get("policy") or policy_of(olds).get("name") != canonical.get("name"):
        return []
    if not is_other_policy(olds, {"policy": canonical, "revision": revision}):
        return []
    return renewals(policy_of(olds), canonical)


def losses(before: Session, after: Session) -> list[str]:
    """What one version made anew or forgot that the version before it held, a line each."""
    return [
        f"CAS {'made anew' if one.effect == 'anew' else 'forgot'} {one.section}.{one.name}, because {one.why}"
        for one in renewals(before.canonical(), after.canonical())
        if one.is_loss
    ]


def held_other_values(found: Walk, parse: Parse) -> bool:
    """Whether, on the way from the known version to the newest, a value became another, be it for a while.

    A version that cannot be understood, and a way that was not walked to its end, may have done anything.
    """
    if found.cut:
        return True
    for before, after in pairwise(reversed(found.versions)):
        sides = parse(before), parse(after)
        if sides[0] is None or sides[1] is None or changes_values(sides[0].canonical(), sides[1].canonical()):
            return True
    return False


def loss_with_name(olds: Mapping[str, object], session: Session) -> str | None:
    """What does not come along where a policy (its old inputs) gets another name, in words; None where it has its own.

    To CAS the other name is another policy.
    """
    old = olds.get("name")
    if not isinstance(old, str) or old == session.name or has_hole(session.name):
        return None
    lost = generated(olds.get("policy"))
    return f"{old} becomes {session.name}, which is another policy to CAS: once that is there, {old} is retired" + (
        f", and what CAS generated for it is lost: {', '.join(lost)}" if lost else ""
    )


def losses_with_services(olds: Mapping[str, object], news: Mapping[str, object]) -> list[str]:
    """What goes with the policies that a mesh had and has no more, a sentence each (inputs `policies` of `Rollout`).

    Their own resources are not asked: the engine checks nothing that is only deleted.
    """
    before, after, found = olds.get("policies"), news.get("policies"), []
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    for role in sorted(before.keys() - after.keys()):
        name, lost = before[role]["name"], before[role]["generated"]
        if not lost:
            continue
        whose = "what services shared" if role == SHARED else f"service {role}"
        found.append(
            f"{whose} is not in this mesh any more: the policy {name} is retired, and what CAS generated for it is "
            f"lost: {', '.join(lost)}. To CAS a service of another name has another policy. A policy that another "
            "resource has, too, stays."
        )
    return found


def generated(policy: object) -> list[str]:
    """What CAS drew at random for a policy in canonical form: its secrets and volumes, as paths."""
    found = policy if isinstance(policy, Mapping) else {}
    names = []
    for name, secret in sorted((found.get("secrets") or {}).items()):
        given = {"value", "value_json", "import", "import_akv"} & set(secret)
        if secret.get("kind") in _DRAWN and not given:
            names.append(f"secrets.{name}")
    for name, volume in sorted((found.get("volumes") or {}).items()):
        if not {"fspf_key", "import"} & set(volume):
            names.append(f"volumes.{name}")
    return names
