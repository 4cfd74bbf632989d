"""Tags of file systems as enclaves left them: kept sealed by session name, replaced by who names the tag before."""

import hmac
import json
from dataclasses import asdict, dataclass, field, replace

from scone_cas.errors import EnclaveRefusal
from scone_cas.storage.database import Store
from scone_policy.model.services import Service

SERVICE = "service"
VOLUME = "volume"


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A file system's tag (32 hex digits; None before the first report) and, where CAS made it, its key (64).

    `origin` is what the description said when this was kept: with another one, this is void. `by` is the lease that
    set the tag.
    """

    origin: str = field(repr=False)
    key: str | None = field(default=None, repr=False)
    tag: str | None = field(default=None, repr=False)
    by: str = ""


class Tags:
    """The tags in a store. To be changed inside `Store.writing()` only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, session: str, kind: str, name: str) -> Tag | None:
        """What is kept about a file system, if anything is."""
        row = self._store.row("SELECT sealed FROM tag WHERE session = ? AND kind = ? AND name = ?", session, kind, name)
        return None if row is None else Tag(**json.loads(self._store.open(row[0], "tag", session, kind, name)))

    def put(self, session: str, kind: str, name: str, tag: Tag) -> None:
        """Keep it, instead of what was kept before."""
        sealed = self._store.seal(json.dumps(asdict(tag)).encode(), "tag", session, kind, name)
        self._store.change("INSERT OR REPLACE INTO tag VALUES (?, ?, ?, ?)", session, kind, name, sealed)

    def drop(self, session: str, kind: str, name: str) -> None:
        """Forget it."""
        self._store.change("DELETE FROM tag WHERE session = ? AND kind = ? AND name = ?", session, kind, name)


def service_tag(tags: Tags, session: str, name: str, service: Service) -> Tag:
    """The tag of a service's own file system as it is now. Another one in the description begins anew."""
    kept = tags.get(session, SERVICE, name)
    origin = service_origin(service)
    return kept if kept is not None and kept.origin == origin else Tag(origin=origin, tag=service.fspf_tag)


def service_origin(service: Service) -> str:
    """What the description says about key and tag, as text that changes with it."""
    return f"{service.fspf_key or ''} {service.fspf_tag or ''}"


@dataclass(frozen=True, kw_only=True)
class Update:
    """A new tag, and the one that it replaces (None: the first; not looked at where `free`). `by` is the lease."""

    tag: str
    replaces: str | None
    by: str
    free: bool


def updated(current: Tag, update: Update) -> Tag | None:
    """The tag after an update, None when the same lease has made it already. Raises EnclaveRefusal."""
    if current.tag == update.tag and current.by == update.by:
        return None
    if not update.free and not hmac.compare_digest(current.tag or "", update.replaces or ""):
        raise EnclaveRefusal(
            "stale_tag", "the file system has another tag than the one to be replaced: it was changed meanwhile"
        )
    return replace(current, tag=update.tag, by=update.by)
