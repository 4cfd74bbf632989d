"""Whom CREATOR means, and who loses a right when somebody else uploads (section 6)."""

from collections.abc import Sequence

from cryptography import x509

from scone_policy.keys.key_hash import certificate_key_hash
from scone_policy.model.access import ANY, CREATOR, NONE, AccessPolicy, Entry
from scone_policy.rules.placeholder_texts import entry_texts
from scone_policy.syntax.holes import has_hole

_RIGHTS = ("read", "update", "create_sessions", "list_sessions")


def held_as_creator(policy: AccessPolicy, own: str | None) -> tuple[str, ...]:
    """The rights that the key with the hash `own` has only while CREATOR means it; none that a hole may give it.

    Without `own` (nobody knows who will upload) they are all that name CREATOR. A policy that a fragment holds names
    nobody that can be seen here.
    """
    if policy.reference is not None:
        return ()
    stated = {right: getattr(policy, right) or () for right in _RIGHTS}
    return tuple(
        right for right, entries in stated.items() if CREATOR in entry_texts(entries) and not _names(entries, own)
    )


def other_updaters(policy: AccessPolicy, own: str | None) -> tuple[str, ...]:
    """Whoever may upload beside CREATOR and `own`, also with others together: as key hashes, or as they stand there.

    Who is not known yet (a hole) may be `own`, and is left out.
    """
    found = dict.fromkeys(_known_as(text) for text in entry_texts(policy.update))
    return tuple(one for one in found if one not in (CREATOR, NONE, own) and not has_hole(one))


def may_update_by_name(policy: AccessPolicy, own: str) -> bool:
    """Whether the key may upload whoever CREATOR is."""
    return policy.reference is None and _names(policy.update, own)


def _names(entries: Sequence[Entry], own: str | None) -> bool:
    """Whether an entry alone, which is no governance rule, lets that key in."""
    return any(isinstance(entry, str) and (_known_as(entry) in (ANY, own) or has_hole(entry)) for entry in entries)


def _known_as(entry: str) -> str:
    """A certificate counts by its key."""
    if not entry.startswith("-----BEGIN CERTIFICATE"):
        return entry
    try:
        return certificate_key_hash(x509.load_pem_x509_certificate(entry.encode()))
    except ValueError:
        return "a certificate"
