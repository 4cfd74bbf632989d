"""Revisions of a service in one session: what each says, how they stand side by side at CAS, what has no revisions.

In state and previews a service has its own name, so that a preview compares it field by field. At CAS it is named
`<service>-<digest>`, by a digest over all that the service's entry says, and beside it stands the revision that was
released last, until the newer one is (docs/rollouts.md).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from scone_policy.diff.regeneration import renewals
from scone_policy.forms.digest import policy_digest, without_private
from scone_policy.model.session import Session
from scone_policy.rules.check import parse
from scone_provider.errors import PolicyError

Canonical = Mapping[str, Any]

_DIGITS = 12
_SECTIONS = ("services", "images")
_REPLACE = (
    'give "rollout": "replace" for the `up` that carries it out: every pod then gets the new policy; '
    'afterwards "rollout": "overlap" again'
)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What one revision's service says, in canonical form. `name`: of the service at CAS."""

    name: str
    service: Mapping[str, Any] = field(repr=False)
    image: Mapping[str, Any] | None = field(default=None, repr=False)

    def to_json(self) -> str:
        """For state, where it is kept as a secret: variables of a service may be Pulumi secrets."""
        return json.dumps({"name": self.name, "service": self.service, "image": self.image}, sort_keys=True)

    @classmethod
    def of_json(cls, text: object) -> "Revision | None":
        """What `to_json` wrote; None for nothing."""
        return cls(**json.loads(text)) if isinstance(text, str) else None

    @classmethod
    def of(cls, canonical: Canonical, name: str) -> "Revision":
        """The one service of a session, under the name of its revision."""
        service, image = _parts(canonical)
        return cls(name=name, service=service, image=image)


def revision_name(canonical: Canonical, private: Mapping[str, object], *, secret: Callable[[str], str]) -> str:
    """`<service>-<digest>` over everything that the entry of the session's one service says, its image's included.

    `secret` as of `policy_digest`; `private` names texts that are secret, too. Raises PolicyError unless there is
    exactly one service.
    """
    (name,) = _names(canonical)
    service, image = _parts(canonical)
    at = {"services": {name: service}, "images": {service["image_name"]: image} if image else {}}
    shown = without_private(at, {key: private[key] for key in _SECTIONS if key in private}, secret=secret)
    return f"{name}-{policy_digest(shown, secret=secret)[:_DIGITS]}"


def at_cas(canonical: Canonical, revision: str, kept: Revision | None = None) -> dict[str, Any]:
    """The session as CAS has it: its service under the revision's name, and beside it the revision that is kept."""
    (name,) = _names(canonical)
    found = dict(canonical)
    named = str(canonical["services"][name].get("image_name", ""))
    images = {key: value for key, value in canonical.get("images", {}).items() if key != named}
    services = {}
    for one in (kept, Revision.of(canonical, revision)):
        if one is not None:
            services[one.name] = {**one.service, **({"image_name": one.name} if one.image else {})}
            if one.image:
                images[one.name] = one.image
    found["services"] = services
    return {**found, "images": images} if images else {key: value for key, value in found.items() if key != "images"}


def private_at_cas(private: Mapping[str, object], service: str, revision: str, kept: Revision | None) -> dict[str, Any]:
    """Where secret texts stand in `at_cas`; all of a kept revision counts as secret."""
    found = dict(private)
    for section in _SECTIONS:
        inner = private.get(section)
        names = {**inner} if isinstance(inner, Mapping) else {}
        if service in names:
            names[revision] = names.pop(service)
        if kept is not None and kept.name != revision:
            names[kept.name] = True
        if names:
            found[section] = names
    return found


def as_written(canonical: Canonical, expected: Canonical, revision: str, kept: Revision | None) -> dict[str, Any]:
    """What CAS has, under the names of `expected`, the session as this stack wrote it, and without what it keeps.

    A kept revision that was changed at CAS stays, and so does any service that is neither: they show as drift.
    """
    (name,) = _names(expected)
    found = {key: dict(value) if key in _SECTIONS else value for key, value in canonical.items()}
    services, images = found.get("services", {}), found.get("images", {})
    if kept is not None and kept.name != revision and _stands(kept, services, images):
        del services[kept.name]
        images.pop(kept.name, None)
    if revision in services:
        service = dict(services.pop(revision))
        named = expected["services"][name].get("image_name")
        if named and service.get("image_name") == revision:
            service["image_name"] = named
            if revision in images:
                images[named] = images.pop(revision)
        services[name] = service
    return {key: value for key, value in found.items() if key not in _SECTIONS or value}


def only(session: Session, revision: str) -> Session:
    """The same session without other revisions. Raises PolicyError when it does not have this one."""
    canonical: Canonical = session.canonical()
    services = canonical.get("services") or {}
    if revision not in services:
        raise PolicyError(
            f"has no revision {revision}", where=session.name, fix="Run `pulumi refresh`, then `pulumi up`."
        )
    others = set(services) - {revision}
    images = {name: image for name, image in (canonical.get("images") or {}).items() if name not in others}
    rest = {key: value for key, value in canonical.items() if key not in _SECTIONS}
    return parse({**rest, "services": {revision: services[revision]}, **({"images": images} if images else {})})


def refuse_unfit(session: Session) -> None:
    """Raise PolicyError for what two revisions cannot share, because every version of a session makes it anew."""
    canonical: Canonical = session.canonical()
    _names(canonical)
    for one in renewals(canonical, canonical):
        if one.kind == "private-key":
            raise PolicyError(
                '"rollout": "overlap" cannot share this key between revisions: each new version of the policy makes it '
                "anew",
                where=f"secrets.{one.name}",
                fix="Give it migrate: true, so that it is kept.",
            )


def refuse_changed_session(old: Canonical, new: Canonical, *, name: str) -> None:
    """Raise PolicyError when a part changes that all revisions share, so that pods of the old one would be hit.

    Compared are canonical forms. New secrets and volumes, and other importers of old ones, hit nobody.
    """
    changed = list(_changed(old, new))
    if changed:
        raise PolicyError(
            f'"rollout": "overlap" cannot carry out this change: {", ".join(changed)} '
            f"{'is' if len(changed) == 1 else 'are'} shared by all revisions of the service, also by the one whose "
            "pods run now",
            where=name,
            fix=_REPLACE,
        )


def _changed(old: Canonical, new: Canonical) -> Iterator[str]:
    if old.get("security") != new.get("security"):
        yield "security"
    for section in ("secrets", "volumes"):
        before, after = old.get(section) or {}, new.get(section) or {}
        for name in sorted(before):
            if _without_exports(before[name]) != _without_exports(after.get(name)):
                yield f"{section}.{name}"


def _without_exports(definition: object) -> object:
    if not isinstance(definition, Mapping):
        return definition
    return {key: value for key, value in definition.items() if key not in ("export", "export_public")}


def _names(canonical: Canonical) -> list[str]:
    names = list(canonical.get("services") or {})
    if len(names) != 1:
        raise PolicyError(
            f"a policy whose rollouts overlap has one service, this one has {len(names)}",
            where="services",
            fix='Give each service a policy of its own, or "rollout": "replace".',
        )
    return names


def _parts(canonical: Canonical) -> tuple[dict[str, Any], dict[str, Any] | None]:
    (name,) = _names(canonical)
    service = dict(canonical["services"][name])
    image = (canonical.get("images") or {}).get(service.get("image_name"))
    return service, cast("dict[str, Any] | None", image)


def _stands(kept: Revision, services: Canonical, images: Canonical) -> bool:
    wanted = {**kept.service, **({"image_name": kept.name} if kept.image else {})}
    return services.get(kept.name) == wanted and images.get(kept.name) == kept.image
