"""One PKCS#11 token: a session that is opened when it is needed, and again after the token went away."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from scone_cas import log
from scone_cas.errors import KeyStoreError, MissingObjectError
from scone_cas.keystore.settings import Pkcs11

if TYPE_CHECKING:
    import pkcs11

Result = TypeVar("Result")

_PIN = "correct the PIN, then start the CAS again: it tries no second time, because a token locks itself"
_WORDS = {
    "NoSuchToken": ("there is no token with this label", "plug it in, or correct pkcs11.token"),
    "TokenNotPresent": ("the token is not there", "plug it in"),
    "DeviceRemoved": ("the token was removed", "plug it in"),
    "MultipleTokensReturned": ("several tokens have this label", "give each a label of its own"),
    "PinIncorrect": ("the token refuses the PIN", _PIN),
    "PinInvalid": ("the token refuses the PIN", _PIN),
    "PinLenRange": ("the token refuses the PIN", _PIN),
    "PinLocked": ("the token is locked after too many wrong PINs", "unlock it with its security officer's PIN"),
    "PinExpired": ("the PIN has expired", "set a new one"),
    "KeyNotWrappable": ("the token does not give this key away", "leave `deliver` out"),
    "KeyUnextractable": ("the token does not give this key away", "leave `deliver` out"),
    "UserPinNotInitialized": ("the token has no user PIN", "initialise it"),
}
_PIN_TROUBLES = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange", "PinLocked", "PinExpired"})


class Token:
    """A token's user session, one for a process and not to be carried over a fork. Safe for threads: one at a time."""

    def __init__(self, settings: Pkcs11, pin: str) -> None:
        self._settings = settings
        self._pin = pin
        self._session: pkcs11.Session | None = None
        self._given_up: KeyStoreError | None = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """How errors call it."""
        return f"token '{self._settings.token}'"

    def run(self, work: "Callable[[pkcs11.Session], Result]") -> Result:
        """Do something in the session; once more in a new one when the token fails. Raises KeyStoreError.

        `work` may be done twice, and may raise KeyStoreError itself.
        """
        with self._lock:
            fresh = self._session is None
            try:
                return self._try(work)
            except KeyStoreError as problem:
                # A session may have outlived its token: it sees nothing any more, or fails.
                curable = isinstance(problem, MissingObjectError) or problem.__cause__ is not None
                if fresh or not curable:
                    raise problem from None
            self._drop()
            log.event("key-store-reopened", token=self._settings.token)
            try:
                return self._try(work)
            except KeyStoreError as problem:
                raise problem from None

    def close(self) -> None:
        """Log out."""
        with self._lock:
            self._drop()

    def _try(self, work: "Callable[[pkcs11.Session], Result]") -> Result:
        """As `run`, once. An error that a new session may cure has the library's as its cause."""
        import pkcs11  # noqa: PLC0415 - in _open, which says it in words, it was found or not

        try:
            return work(self._session or self._open())
        except pkcs11.PKCS11Error as problem:
            self._drop()
            kind = type(problem).__name__
            what, fix = _WORDS.get(kind, (f"the token fails ({kind})", "look at the token and the log of its module"))
            found = KeyStoreError(what, where=self.name, fix=fix)
            if kind in _PIN_TROUBLES:
                self._given_up = found
                raise found from None
            raise found from problem

    def _open(self) -> "pkcs11.Session":
        if self._given_up is not None:
            raise self._given_up
        token = self._load().get_token(token_label=self._settings.token)
        found: pkcs11.Session = token.open(user_pin=self._pin)
        self._session = found
        return found

    def _load(self) -> Any:  # noqa: ANN401 - pkcs11.lib names a function and a class at once
        import pkcs11  # noqa: PLC0415 - only a CAS that is configured for a key store needs it

        try:
            library = pkcs11.lib(str(self._settings.module))
            # What the module remembers, of tokens and of who logged in, may be from before: it must look anew.
            library.reinitialize()
        except (RuntimeError, OSError) as problem:
            if isinstance(problem, pkcs11.PKCS11Error) and type(problem) is not pkcs11.PKCS11Error:
                raise  # the module itself says what is wrong
            raise KeyStoreError(
                "this is no PKCS#11 module, or it cannot be loaded",
                where=str(self._settings.module),
                fix="correct pkcs11.module; on Debian SoftHSM's is /usr/lib/softhsm/libsofthsm2.so",
            ) from None
        return library

    def _drop(self) -> None:
        import pkcs11  # noqa: PLC0415

        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except pkcs11.PKCS11Error:
                return  # it is gone already


def require_library() -> None:
    """Raises KeyStoreError unless the Python library for PKCS#11 is installed."""
    try:
        import pkcs11  # noqa: F401, PLC0415
    except ImportError:
        raise KeyStoreError(
            "a key store needs the package python-pkcs11", fix="pip install 'pulumi-scone[hsm]'"
        ) from None
