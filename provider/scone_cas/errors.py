"""Errors of the embedded CAS. Domain code raises reasons; `api.client` and `api.enclave` map them to HTTP statuses.

    SconeError                     (scone_policy.errors) what an operator can cause: said in words, with what to do
    ├─ RollbackCounterError        (storage.rollback_counter) it cannot be read or raised
    ├─ StorageError                (storage.failures) the disk is full, or broken
    ├─ KeyStoreError               the key store does not give what is asked of it
    │  └─ MissingObjectError       there is no such object in it
    RequestError                   a request is not answered as it was asked
    ├─ Refusal                     client port: a reason, and one line for the caller
    ├─ EnclaveRefusal              enclave port: a code, and one line for the log of the container
    ├─ UndeliverableError          a value cannot be put where the policy wants it
    ├─ MalformedError              (strict_json) the bytes are not of the protocol
    ├─ BadChallengeError           (attestation.challenges) not one of ours, too old, or used
    ├─ MissingHostValueError       (sessions.host_values) the policy names a host argument that was not given
    ├─ TokenError                  (entra.client) there is no token
    └─ PeerError                   (federation.protocol) another CAS is not the one trusted, or does not do its part
       └─ UnreachableError         (federation.connection) nobody answers there

Apart from these: PendingFetch (secrets.pending) is no error but a way back, to fetch something and begin anew;
BadEntryError (audit.entry) says that bytes are no entry of an audit log. Texts never hold a secret.
"""

from collections.abc import Iterable
from enum import Enum, auto

from scone_policy.errors import SconeError

CALM = "try again a little later"


class Reason(Enum):
    """Why a client's request is refused."""

    INVALID = auto()
    """It breaks a rule."""
    FORBIDDEN = auto()
    """The caller may not."""
    UNKNOWN = auto()
    """There is no such thing, or the caller may not know."""
    CONFLICT = auto()
    """It was made for another state than the one that stands."""
    TOO_LARGE = auto()
    """The answer would be."""
    UNSUPPORTED = auto()
    """This CAS does not serve it."""
    UPSTREAM = auto()
    """Another server, which is needed for it, refuses or fails."""
    UNAVAILABLE = auto()
    """Not at this moment."""


class RequestError(Exception):
    """A request is not answered as it was asked."""


class Refusal(RequestError):  # noqa: N818 - a refusal is an answer, not a fault
    """A client's request is refused: the reason and one line for the caller, without secrets.

    `retry_after`: seconds until it is worth another try, None where nothing is known of that.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.retry_after = reason, message, retry_after


class EnclaveRefusal(RequestError):  # noqa: N818 - what it is, not that it failed
    """An enclave's request is refused (docs/enclave-protocol.md, section 3).

    `code` is one of the protocol, `message` one line without secrets, `found` what the asker itself brought.
    `expected`, and `meant` (a code that says more), are for the CAS's own logs: an answer may go to anybody.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        expected: Iterable[str] = (),
        found: str | None = None,
        meant: str | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code, self.message, self.meant = code, message, meant or code
        self.expected, self.found = tuple(expected), found


class UndeliverableError(RequestError):
    """A value cannot be put where the policy wants it. The text says which and why, without the value."""


class KeyStoreError(SconeError):
    """The key store does not give what is asked of it: it is away, or an object is missing or another one."""


class MissingObjectError(KeyStoreError):
    """There is no such object: not in the token, or not in what its module still sees of it."""
