"""Helm's records of a release: whose it is, and what a run that was cut off left of it.

Helm keeps each revision of a release as a Secret: base64 of gzip of JSON. A run that was killed while Helm worked
leaves a record that is not finished, and Helm then refuses the next run. A release that is deployed is somebody's:
its records are read, never changed (docs/adr/008-owned-releases.md).
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kubernetes.client

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import PATIENCE, TROUBLE

OWNER = "sconeOwner"
"""Key of the values under which a release says whose it is: `{id, name}`. No service is called so."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a record; a Secret holds 1 MiB of what is compressed."""
_PENDING = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
_UNFINISHED = _PENDING | {"failed"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is about to be released."""

    namespace: str
    release: str
    chart: str
    """Name of the chart."""
    values: Mapping[str, Any]
    is_known: bool
    """Whether the release is in Pulumi's state: then it is an upgrade."""

    @property
    def place(self) -> str:
        """What an error names."""
        return f"{self.namespace}/{self.release}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One revision of a release, as Helm noted it."""

    secret: Any
    """The Secret that holds it."""
    number: int
    status: str
    chart: str
    """Name of the chart; empty when the record cannot be read."""
    values: Mapping[str, Any]

    @property
    def is_pending(self) -> bool:
        """True when Helm never came to its end."""
        return self.status in _PENDING


def prepare_release(
    client: Any,  # noqa: ANN401  the package has no types
    wanted: Wanted,
    *,
    only_look: bool,
    options: Mapping[str, Any] = PATIENCE,
) -> str | None:
    """Before Helm installs or upgrades: see whose release has the name, and clear what a run of ours left half done.

    Only a record of a revision that never came to its end is taken away, only where it says what is about to be
    released, and, before an install, only where its owner is the one who releases. Objects that are in the cluster
    already are taken over by Helm, because they bear the release's name. With `only_look` (a preview of an install)
    nothing is taken away. `options`: of each request.

    Returns a line that tells what was done; None when there was nothing to do, or the cluster does not let its records
    be read. Raises DeployError when the release is somebody's.
    """
    try:
        records = _records(client, wanted, options)
    except TROUBLE:
        return None  # Helm says what is wrong; it never replaces what is there
    newest = records[-1] if records else None
    if newest is None or (wanted.is_known and not newest.is_pending):
        return None
    if only_look and newest.status in _UNFINISHED and _owner(newest.values) == _owner(wanted.values):
        return None  # what it says may not be known yet
    if not _is_left_over(newest, wanted, alone=len(records) == 1):
        raise _cut_off(wanted, newest) if wanted.is_known else _taken(wanted, newest)
    _remove(client, wanted.namespace, newest)
    return (
        f"release {wanted.release}: an earlier run was cut off at revision {newest.number} ({newest.status}); "
        "finishing it"
    )


def is_gone(client: Any, namespace: str, release: str) -> bool:  # noqa: ANN401  see above
    """True when Helm has no record of a release; False where that cannot be asked, too."""
    try:
        found: Any = _listed(client, namespace, release, PATIENCE, limit=1)
    except TROUBLE:
        return False
    return not found.items


def _is_left_over(record: Record, wanted: Wanted, *, alone: bool) -> bool:
    """Whether Helm was cut off while it released just this, for this very resource."""
    if record.chart != wanted.chart or _plain(record.values) != _plain(wanted.values):
        return False
    if wanted.is_known:
        return record.is_pending
    # The values are equal, so the owner that they name is, too.
    return alone and bool(_owner(wanted.values)) and record.status in _UNFINISHED


def _remove(client: Any, namespace: str, record: Record) -> None:  # noqa: ANN401  see above
    """As it was when it was read: a Helm that is still at work has changed it by its end."""
    metadata = record.secret.metadata
    unchanged = kubernetes.client.V1DeleteOptions(
        preconditions=kubernetes.client.V1Preconditions(uid=metadata.uid, resource_version=metadata.resource_version)
    )
    api = kubernetes.client.CoreV1Api(client)
    with suppress(*TROUBLE):  # then Helm refuses
        api.delete_namespaced_secret(metadata.name, namespace, body=unchanged, **PATIENCE)


def _cut_off(wanted: Wanted, found: Record) -> DeployError:
    return DeployError(
        f"Helm was cut off while it released something else (revision {found.number} is {found.status})",
        where=wanted.place,
        fix=f"if nobody is at it: `kubectl -n {wanted.namespace} delete secret {found.secret.metadata.name}`, then "
        "`pulumi up`",
    )


def _taken(wanted: Wanted, found: Record) -> DeployError:
    """Before an install: a release of this name is there, and the state does not have it under this URN."""
    owner, ours = _owner(found.values), _owner(wanted.values)
    state = f"revision {found.number} is {found.status}"
    uninstall = f"if nobody needs it: `helm -n {wanted.namespace} uninstall {wanted.release}`"
    if owner and owner.get("id") == ours.get("id"):
        return DeployError(
            f"this very resource has released it before ({state}). Were it made again, the end of the old one would "
            "take the application down, because both have one name",
            where=wanted.place,
            fix="where it is to be replaced (--replace, `pulumi state taint`, another `kubernetes.Provider`): do not, "
            "an update changes it in place, and `pulumi state untaint` takes that back; where the state lost it: "
            "restore the state (`pulumi stack import`); where a stack of the same name in another backend has it: "
            f"choose another `release` or `kubernetes_namespace`; or, {uninstall}",
        )
    belongs = (
        f"this release belongs to {owner.get('name')} ({state})"
        if owner
        else f"Helm has a release of this name that this stack does not know ({state})"
    )
    return DeployError(
        belongs,
        where=wanted.place,
        fix=f"{_way_to_keep(owner, ours)}, and the release stays as it is; if it is to be replaced (--replace, `pulumi "
        "state taint`): do not, an update changes it in place; else choose another `release` or "
        f"`kubernetes_namespace`, or, {uninstall}",
    )


def _way_to_keep(owner: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """How the resource that is about to release can be the one that has released."""
    old, _, stack = str(owner.get("name") or "its old name").partition(" in ")
    new, _, here = str(ours.get("name") or "").partition(" in ")
    if owner and stack != here:
        return "if the component moves to this stack: `pulumi state move` brings it along"
    if owner and old == new:
        alias = "parent=its old parent"
        hint = " (parent=pulumi.ROOT_STACK_RESOURCE where it had none)"
    else:
        alias, hint = f'name="{old}"', ""
    return (
        "if a component was renamed or moved, give it `opts=pulumi.ResourceOptions(aliases=[pulumi.Alias("
        f"{alias})])`{hint}"
    )


def _owner(values: Mapping[str, Any]) -> Mapping[str, Any]:
    found = values.get(OWNER)
    return found if isinstance(found, Mapping) else {}


def _listed(client: Any, namespace: str, release: str, options: Mapping[str, Any], **more: Any) -> Any:  # noqa: ANN401
    api = kubernetes.client.CoreV1Api(client)
    return api.list_namespaced_secret(namespace, label_selector=f"owner=helm,name={release}", **options, **more)


def _records(client: Any, wanted: Wanted, options: Mapping[str, Any]) -> Sequence[Record]:  # noqa: ANN401  see above
    """All that Helm has of a release, oldest first."""
    listed = _listed(client, wanted.namespace, wanted.release, options)
    return sorted((_record(item) for item in listed.items), key=lambda record: record.number)


def _record(secret: Any) -> Record:  # noqa: ANN401  see above
    labels = secret.metadata.labels or {}
    number = str(labels.get("version", ""))
    chart: str = ""
    values: Mapping[str, Any] = {}
    with suppress(ValueError, KeyError, TypeError, AttributeError, zlib.error):
        chart, values = _content(secret.data["release"])
    return Record(
        secret=secret,
        number=int(number) if number.isdecimal() else 0,
        status=str(labels.get("status", "")),
        chart=chart,
        values=values,
    )


def _content(text: str) -> tuple[str, Mapping[str, Any]]:
    unpacking = zlib.decompressobj(wbits=31)  # gzip
    record = json.loads(unpacking.decompress(base64.b64decode(base64.b64decode(text)), _LARGEST))
    return str(record["chart"]["metadata"]["name"]), record.get("config") or {}


def _plain(value: object) -> object:
    """Values as Helm keeps them: JSON, without nulls, numbers by their value."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
