"""Volumes of a session: which a service mounts, where their key and tag live, and what may be done to the tag (4).

A volume lives in the session that defines it, under the session's name: it outlives the versions of the session that
define it without a break, and another session that it is exported to works on the same tag.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scone_cas.errors import Reason, Refusal
from scone_cas.filesystems.tags import SERVICE, VOLUME, Tag, Tags, service_origin
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_policy.model.session import Session
from scone_policy.model.volumes import DEFAULT_FILES, DEFAULT_UPDATE_POLICY, Volume, VolumeExport

FREE = "no_rollback_protection"
EPHEMERAL = "ephemeral"
_FREEDOM = (EPHEMERAL, DEFAULT_UPDATE_POLICY, FREE)
"""From the policy that allows least to the one that allows most."""

Find = Callable[[str], SessionSnapshot | None]


@dataclass(frozen=True, kw_only=True)
class Mounted:
    """A volume at a path of a service: the session that holds it, its name there and here, and the policy in force."""

    owner: SessionSnapshot
    name: str
    named: str
    volume: Volume
    path: str
    update_policy: str

    @property
    def files(self) -> str:
        """`encrypted` or `authenticated-only`."""
        return self.volume.files or DEFAULT_FILES


def mounted(live: SessionSnapshot, service_name: str, find: Find) -> list[Mounted]:
    """The volumes of a service, by path. Raises Refusal when one is not exported to the session any more."""
    session = live.session
    image = session.services[service_name].image_name
    if image is None:
        return []
    return [
        _mounted(live, path, mount.name, mount.update_policy, find)
        for path, mount in sorted(session.images[image].volumes.items())
    ]


def check_volumes(session: Session, session_hash: str, find: Find) -> None:
    """Raises Refusal unless each imported volume is exported to a session to be stored, for what it does to it."""
    for name, volume in session.volumes.items():
        if volume.import_ is None:
            continue
        _, _, export = _exported(session.name, session_hash, name, volume, find)
        bound = export.update_policy or DEFAULT_UPDATE_POLICY
        for image_name, image in session.images.items():
            for path, mount in image.volumes.items():
                # A bound of `ephemeral` overrides what the importer says; another bound is not to be exceeded.
                if (
                    mount.name == name
                    and _wanted(mount.update_policy, volume) == FREE
                    and bound == DEFAULT_UPDATE_POLICY
                ):
                    raise Refusal(
                        Reason.INVALID,
                        f"images.{image_name}.volumes.{path}.update_policy: the volume '{name}' is exported to this "
                        f"session as {bound} at most",
                    )


def provision(tags: Tags, session: Session, before: Session | None) -> None:
    """Make the keys of new volumes, and forget what the session holds no longer; inside the transaction that stores it.

    A tag that enclaves have updated is kept while the description's own key and tag stay.
    """
    for name, volume in session.volumes.items():
        kept = tags.get(session.name, VOLUME, name)
        if kept is not None and (volume.import_ is not None or kept.origin != origin(volume)):
            tags.drop(session.name, VOLUME, name)
            kept = None
        if kept is None and volume.import_ is None and volume.fspf_key is None:
            tags.put(session.name, VOLUME, name, Tag(origin=origin(volume), key=secrets.token_hex(32)))
    if before is None:
        return
    for name in before.volumes.keys() - session.volumes.keys():
        tags.drop(session.name, VOLUME, name)
    for name, old in before.services.items():
        new = session.services.get(name)
        if old.fspf_key is not None and (new is None or service_origin(new) != service_origin(old)):
            tags.drop(session.name, SERVICE, name)


def state(tags: Tags, mount: Mounted) -> Tag:
    """The volume's tag as it is now; its key where CAS made it. Inside `writing()` it stays true until the commit."""
    kept = tags.get(mount.owner.session.name, VOLUME, mount.name)
    volume = mount.volume
    if kept is not None and kept.origin == origin(volume):
        return kept
    return Tag(origin=origin(volume), tag=volume.fspf_tag)


def origin(volume: Volume) -> str:
    """What the description says about key and tag, as text that changes with it."""
    return f"{volume.fspf_key or ''} {volume.fspf_tag or ''}"


def _mounted(live: SessionSnapshot, path: str, named: str, mount_policy: str | None, find: Find) -> Mounted:
    volume = live.session.volumes[named]
    wanted = _wanted(mount_policy, volume)
    if volume.import_ is None:
        return Mounted(owner=live, name=named, named=named, volume=volume, path=path, update_policy=wanted)
    owner, name, export = _exported(live.session.name, live.hash, named, volume, find)
    policy = min(wanted, export.update_policy or DEFAULT_UPDATE_POLICY, key=_FREEDOM.index)
    return Mounted(
        owner=owner, name=name, named=named, volume=owner.session.volumes[name], path=path, update_policy=policy
    )


def _wanted(mount_policy: str | None, volume: Volume) -> str:
    """What the mount says, be it the default, else what the volume says."""
    return mount_policy or volume.update_policy or DEFAULT_UPDATE_POLICY


def _exported(
    session: str, session_hash: str, named: str, volume: Volume, find: Find
) -> tuple[SessionSnapshot, str, VolumeExport]:
    """The session that holds an imported volume, its name there, and the export that lets it out."""
    wanted = volume.import_
    assert wanted is not None
    owner = find(wanted.session)
    for name, export in _exports(owner):
        to = export.to
        meant = to.session == session and to.session_hash in (None, session_hash)
        if meant and (export.volume_alias or name) == wanted.volume:
            assert owner is not None
            return owner, name, export
    raise Refusal(
        Reason.INVALID,
        f"volumes.{named}.import of '{session}': the session '{wanted.session}' does not exist, "
        f"or does not export a volume '{wanted.volume}' to this session",
    )


def _exports(owner: SessionSnapshot | None) -> Iterator[tuple[str, VolumeExport]]:
    """All exports of a session; of several that fit, the first by name, and of one volume the one that allows most."""
    if owner is None or owner.retired:
        return
    for name, volume in sorted(owner.session.volumes.items()):
        freest = sorted(
            volume.export, key=lambda one: _FREEDOM.index(one.update_policy or DEFAULT_UPDATE_POLICY), reverse=True
        )
        for export in freest:
            yield name, export
