"""Helm's records of a release, and what a run that was cut off left of them.

Helm keeps each revision of a release as a Secret: base64 of gzip of JSON. A run that was killed while Helm worked
leaves a record that is pending, or one of a release that Pulumi's state does not have; Helm then refuses the next run.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kubernetes.client
import urllib3.exceptions

from scone_provider.errors import DeployError

_LARGEST = 64 * 1024 * 1024
"""Bytes of a record; a Secret holds 1 MiB of what is compressed."""
_PENDING = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
_OPTIONS: Mapping[str, Any] = {"_request_timeout": (5, 15)}


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


def finish_release(
    client: Any,  # noqa: ANN401  the package has no types
    *,
    namespace: str,
    release: str,
    chart: str,
    values: Mapping[str, Any],
    known: bool,
) -> str | None:
    """Before Helm installs or upgrades: take away the record that a run of the same program left when it was cut off.

    `chart`: its name; `known`: whether the release is in Pulumi's state. Objects that are in the cluster already are
    taken over by Helm, because they bear the release's name. Returns a line that tells what was done; None when there
    was nothing to do, or the cluster does not let its records be read. Raises DeployError when the record is of
    something else than what is about to be released.
    """
    try:
        records = _records(client, namespace, release)
    except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
        return None  # Helm says what is wrong
    newest = records[-1] if records else None
    if newest is None or (known and not newest.is_pending):
        return None
    if newest.chart != chart or _plain(newest.values) != _plain(values) or (not known and len(records) > 1):
        raise _other(namespace, release, newest, known=known)
    _remove(client, namespace, newest)
    return f"release {release}: an earlier run was cut off at revision {newest.number} ({newest.status}); finishing it"


def _remove(client: Any, namespace: str, record: Record) -> None:  # noqa: ANN401  see above
    """As it was when it was read: a Helm that is still at work has changed it by its end."""
    metadata = record.secret.metadata
    unchanged = kubernetes.client.V1DeleteOptions(
        preconditions=kubernetes.client.V1Preconditions(uid=metadata.uid, resource_version=metadata.resource_version)
    )
    api = kubernetes.client.CoreV1Api(client)
    with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError):  # then Helm refuses
        api.delete_namespaced_secret(metadata.name, namespace, body=unchanged, **_OPTIONS)


def _other(namespace: str, release: str, found: Record, *, known: bool) -> DeployError:
    where, name = f"{namespace}/{release}", found.secret.metadata.name
    if known:
        return DeployError(
            f"Helm was cut off while it released something else (revision {found.number} is {found.status})",
            where=where,
            fix=f"if nobody is at it: `kubectl -n {namespace} delete secret {name}`, then `pulumi up`",
        )
    return DeployError(
        f"Helm has a release of this name that this stack does not know (revision {found.number} is {found.status})",
        where=where,
        fix=f"choose another name or namespace, or, if nobody needs it: `helm -n {namespace} uninstall {release}`",
    )


def _records(client: Any, namespace: str, release: str) -> Sequence[Record]:  # noqa: ANN401  see above
    """All that Helm has of a release, oldest first."""
    api = kubernetes.client.CoreV1Api(client)
    listed: Any = api.list_namespaced_secret(namespace, label_selector=f"owner=helm,name={release}", **_OPTIONS)
    found = [_record(item) for item in listed.items]
    return sorted(found, key=lambda record: record.number)


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
