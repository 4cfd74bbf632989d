"""The newest versions of sessions, read from the store and kept parsed; and what the store notes beside versions."""

import threading
from functools import partial

from cachetools import LRUCache

from scone_cas.registry.sizes import memory_of
from scone_cas.secrets.pending import PendingFetch
from scone_cas.sessions import descriptions, root_namespace
from scone_cas.sessions.authorization import creator_key_hash
from scone_cas.sessions.snapshot import SessionSnapshot
from scone_cas.storage.database import Store, Version
from scone_policy.syntax.names import ROOT

_CACHED = 64 * 1024 * 1024
"""Bytes that are kept in one process. One session of the largest description takes up to half of that."""
_LONG = 16 * 1024
"""Characters of a description from which on reading it takes long enough to be noticed by others."""


class SnapshotCache:
    """The sessions of one store as they stand. Safe for threads and for several processes on one store."""

    def __init__(self, store: Store, *, memory: int = _CACHED) -> None:
        self._store = store
        self._known: LRUCache[str, SessionSnapshot] = LRUCache(
            memory,
            # One that is larger than all the room takes all of it: else it would be read for ever.
            getsizeof=lambda live: min(memory, memory_of((live.hash, live.session, live.generated))),
        )
        self._lock = threading.Lock()

    def find(self, name: str) -> SessionSnapshot | None:
        """The newest version of a session. One index look-up when it is known already."""
        session_hash = self._store.current_hash(name)
        if session_hash is None:
            return root_namespace.LIVE if name == ROOT else None
        with self._lock:
            found = self._known.get(session_hash)
        return found if found is not None else self.load(name)

    def load(self, name: str) -> SessionSnapshot | None:
        """The same, read anew."""
        with self._store.reading():
            version = self._store.current(name)
            if version is None:
                return root_namespace.LIVE if name == ROOT else None
            generated = self._store.values(version)
            salted = is_salted(self._store, version)
            noted = noted_maker(self._store, name)
        session = descriptions.stored(version.description)
        creator = creator_key_hash(session.creator)
        live = SessionSnapshot(
            hash=version.hash,
            number=version.number,
            session=session,
            creator=creator,
            generated=generated,
            salted=salted,
            maker=creator or noted,
        )
        if not self._store.is_writing:  # what this transaction changed may still come to nothing
            with self._lock:
                self._known[version.hash] = live
        return live

    @property
    def memory(self) -> int:
        """Bytes that what is kept takes now."""
        return int(self._known.currsize)

    def at_once(self, name: str) -> SessionSnapshot | None:
        """The same as `find`, for who must not keep others waiting. Raises PendingFetch where it takes long."""
        session_hash = self._store.current_hash(name)
        with self._lock:
            found = self._known.get(session_hash) if session_hash is not None else None
        if found is not None:
            return found
        if session_hash is not None and self._store.length(name, session_hash) > _LONG:
            raise PendingFetch([partial(self._keep, name)])
        return self.find(name)

    def _keep(self, name: str) -> None:
        self.find(name)

    def drop(self, session_hash: str) -> None:
        """Read this version anew when it is asked for: its stored values have changed."""
        with self._lock:
            self._known.pop(session_hash, None)


def is_salted(store: Store, version: Version) -> bool:
    """True when a salt stands in this version, or in one before it."""
    key = _salted(version.name)
    return store.keeps(key) and int(store.kept(key)) <= version.number


def note_salt(store: Store, name: str, number: int) -> None:
    """Note that a version has a salt, unless one before it had."""
    if not store.keeps(_salted(name)):
        store.keep(_salted(name), str(number).encode())


def noted_maker(store: Store, name: str) -> str | None:
    """The key hash of who uploaded the newest version of a session, where its description does not say it."""
    return store.kept(_maker(name)).decode() if store.keeps(_maker(name)) else None


def note_maker(store: Store, name: str, key_hash: str | None) -> None:
    """Note who uploaded it; None: nobody in particular, or the description says it."""
    if key_hash is not None:
        store.keep(_maker(name), key_hash.encode())
    else:
        store.forget(_maker(name))


def _salted(name: str) -> str:
    """Where the store keeps the number of the first version of a session with a salt."""
    return f"salted {name}"


def _maker(name: str) -> str:
    """Where the store keeps who uploaded the newest version of a session, if its description does not say it."""
    return f"maker {name}"
