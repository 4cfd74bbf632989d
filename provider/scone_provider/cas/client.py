"""The client of one attested CAS: upload, read, history. Every failure comes out as one of our errors."""

import hmac
import json
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from scone_policy.keys.cas_evidence import CasEvidence
from scone_provider.cas.address import CasAddress
from scone_provider.cas.attest import Attested, UnknownEvidence, attest, read_evidence, unreachable
from scone_provider.cas.attestation_cache import AttestationCache
from scone_provider.cas.errors import CasConflict, CasForbidden, CasUnreachable
from scone_provider.cas.identity import Identity
from scone_provider.cas.stored_session import StoredSession, predecessor_of
from scone_provider.cas.tolerance import Tolerance
from scone_provider.cas.transport import shared_client
from scone_provider.deadline import Deadline
from scone_provider.errors import CasError, TrustError

if TYPE_CHECKING:
    import httpx

_LARGEST = 4 * 1024 * 1024
_TOTAL_TIME = 60.0
_TRIES = 3
_LONGEST_PAUSE = 5.0
_LONGEST_HISTORY = 10_000
_ID = re.compile(r"id=([0-9a-f]{64})\b")
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    body: bytes
    headers: "httpx.Headers"

    def text(self) -> str:
        """What an error says: one line, bounded."""
        text = self.body[:2000].decode("utf-8", "replace").strip()
        if text.startswith("{"):
            with suppress(ValueError):
                text = str(json.loads(self.body).get("error", text))
        return " ".join(text.removeprefix("Error: ").split())


def connect(
    cas_url: str,
    *,
    tolerance: str,
    cas_key: str | None,
    connect_to: Mapping[str, str],
    identity: Identity | None,
    known_key: str | None = None,
    recent: AttestationCache | None = None,
) -> "CasClient":
    """Attest a CAS (or compare the pin `cas_key`) and give a client that talks to this very key only.

    `known_key` is the key hash that was trusted before. An attestation in `recent` is taken again while it is fresh.
    Raises TrustError when the CAS is not to be trusted or has another key, CasUnreachable when it does not answer.
    """
    address, switches = CasAddress.parse(cas_url, connect_to), Tolerance.parse(tolerance)
    key = (address, str(switches), cas_key)
    attestations = recent or AttestationCache()
    found = attestations.get(key, lambda: attest(address, tolerance=switches, cas_key=cas_key))
    if known_key is not None and not hmac.compare_digest(known_key.encode(), found.key_hash.encode()):
        attestations.forget(key)
        raise TrustError(
            f"another CAS key: {cas_url} has {found.key_hash}, but {known_key} was trusted before",
            where="cas_url",
            fix="find out who answers there; pin the new key (cas_key) only if the CAS was replaced on purpose",
        )
    return CasClient(address=address, attested=found, identity=identity, on_failure=lambda: attestations.forget(key))


class CasClient:
    """Talks to one CAS that was attested. Safe for threads; cheap to make, connections are shared by the process."""

    def __init__(
        self,
        *,
        address: CasAddress,
        attested: Attested,
        identity: Identity | None,
        pause: Callable[[float], None] = time.sleep,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_failure` is called when the CAS did not answer, or not with the attested key."""
        self._on_failure = on_failure
        self._address = address
        self._attested = attested
        self._http = shared_client(address, attested.certificate, identity)
        self._identity = identity
        self._pause = pause

    @property
    def url(self) -> str:
        """The CAS's url as the Meshfile names it."""
        return self._address.url

    @property
    def key_hash(self) -> str:
        """The attested key."""
        return self._attested.key_hash

    @property
    def evidence(self) -> CasEvidence | None:
        """What the CAS said about itself; None where a pin was the trust."""
        return self._attested.evidence

    def session_encryption_key(self, *, pinned: str | None = None) -> bytes:
        """The X25519 key (32 bytes) that sessions for this CAS are encrypted to, as its evidence says.

        `pinned` (64 hex digits, `cas_encryption_key` of the Meshfile) must be that key; it is taken for it where the
        CAS was trusted by its pinned key and its evidence cannot be read here. Raises TrustError, CasError.
        """
        evidence = self.evidence
        try:
            evidence = evidence or self._evidence()
        except UnknownEvidence:
            if pinned is None:
                raise
            return bytes.fromhex(pinned)
        found = evidence.session_encryption_key
        if found is None:
            raise TrustError(f"the evidence of the CAS {self.url} names no session encryption key")
        if pinned is not None and not hmac.compare_digest(found, pinned.lower()):
            raise TrustError(
                f"the CAS {self.url} has the session encryption key {found}, but {pinned.lower()} is pinned",
                where="cas_encryption_key",
                fix="find out who answers there; pin the new key only if the CAS was replaced on purpose",
            )
        return bytes.fromhex(found)

    def _evidence(self) -> CasEvidence:
        nonce = secrets.token_urlsafe(32)
        answer = self._get(f"/v1/attest?nonce={nonce}")
        return read_evidence(answer.body, certificate=self._attested.certificate, nonce=nonce, url=self.url)

    def version(self) -> str:
        """The version of the CAS."""
        answer = self._get("/v1/version")
        return str(_document(answer, "version", self.url).get("version", "unknown"))

    def read(self, name: str) -> StoredSession | None:
        """The newest version of a session, None when there is none. Raises CasForbidden, CasError."""
        return self._read(name, None)

    def read_version(self, name: str, session_hash: str) -> StoredSession | None:
        """The version with that hash, None when the session has none like it. Raises CasForbidden, CasError."""
        return self._read(name, session_hash)

    def history(self, name: str, *, until_hash: str | None = None) -> Iterator[StoredSession]:
        """The versions from the newest backwards, up to and with `until_hash`, or to the first one.

        A history in which `until_hash` does not come up ends with the first version. Raises CasError when it does not
        hang together.
        """
        wanted: str | None = None
        for _ in range(_LONGEST_HISTORY):
            version = self._read(name, wanted)
            if version is None and wanted is None:
                return
            if version is None:
                raise CasError(f"the CAS {self.url} does not have the predecessor {wanted} of '{name}'", where=name)
            yield version
            if version.hash == until_hash or version.predecessor is None:
                return
            wanted = version.predecessor
        raise CasError(f"the history of '{name}' is longer than {_LONGEST_HISTORY} versions", where=name)

    def upload(self, description_yaml: str) -> str:
        """Create or replace a session; the new version's hash. Raises CasConflict, CasForbidden, CasError.

        After CasUnreachable it is unknown whether the upload happened: it is repeated here only for a CAS that says
        that it is too busy.
        """
        body, deadline = description_yaml.encode(), Deadline(_TOTAL_TIME)
        for left in reversed(range(_TRIES)):
            answer = self._exchange("POST", "/session", body, deadline)
            if answer.status not in (429, 503) or not left:  # then nothing was done
                break
            self._pause(_retry_after(answer.headers))
        if answer.status != 201:
            raise self._refused(answer, "refused the session")
        found = _ID.search(answer.body.decode("utf-8", "replace"))
        if found is None:
            raise CasError(f"the CAS {self.url} took the session but does not say its hash", fix="read it and compare")
        return found[1]

    def _read(self, name: str, session_hash: str | None) -> StoredSession | None:
        path = f"/v1/sessions/{quote(name)}"
        if session_hash is not None:
            path += f"?hash={quote(session_hash)}"
        answer = self._get(path, missing_is_fine=True)
        if answer.status == 404:
            return None
        found = _document(answer, "session", self.url)
        text, hash_ = found.get("session"), found.get("hash")
        if not isinstance(text, str) or not isinstance(hash_, str) or not _HASH.fullmatch(hash_):
            raise CasError(f"the CAS {self.url} answers something that is no session", where=name)
        if session_hash is not None and hash_ != session_hash:
            raise CasError(f"the CAS {self.url} answers with another version than the one asked for", where=name)
        return StoredSession(name=name, hash=hash_, description_yaml=text, predecessor=predecessor_of(text, name))

    def _get(self, path: str, *, missing_is_fine: bool = False) -> _Answer:
        """A GET, repeated after what may pass: it changes nothing. One deadline for all of it."""
        deadline = Deadline(_TOTAL_TIME)
        for left in reversed(range(_TRIES)):
            try:
                answer = self._exchange("GET", path, None, deadline)
            except CasUnreachable:
                if not left or deadline.is_over:
                    raise
                self._pause(0.2 * (_TRIES - left))
                continue
            if answer.status not in (429, 503) or not left:
                break
            self._pause(_retry_after(answer.headers))
        if answer.status == 200 or (missing_is_fine and answer.status == 404):
            return answer
        raise self._refused(answer, "refused to answer")

    def _exchange(self, method: str, path: str, body: bytes | None, deadline: Deadline) -> _Answer:
        import httpx  # noqa: PLC0415 - a preview asks no CAS, and would wait for this import

        parts = bytearray()
        try:
            with (
                deadline.applied(),
                self._http.stream(method, path, content=body, headers={"Accept-Encoding": "identity"}) as answer,
            ):
                for part in answer.iter_raw():
                    parts += part
                    if len(parts) > _LARGEST:
                        raise CasError(f"the CAS {self.url} answers more than {_LARGEST} bytes")
        except httpx.TimeoutException:
            self._on_failure()
            raise unreachable(self._address, TimeoutError(), waited=deadline.waited) from None
        except TrustError:
            self._on_failure()
            raise
        except httpx.HTTPError as problem:
            self._on_failure()
            cause = _system_error(problem)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise TrustError(
                    f"the CAS {self.url} presents another certificate than the one it was attested with",
                    where="cas_url",
                    fix="run this again, which attests it anew; find out who answers there if it persists",
                ) from None
            raise unreachable(self._address, cause or problem) from None
        return _Answer(status=answer.status_code, body=bytes(parts), headers=answer.headers)

    def _refused(self, answer: _Answer, what: str) -> CasError:
        text = f"the CAS {self.url} {what}: {answer.text()}"
        if answer.status == 409:
            return CasConflict(text, fix="look at what is there now (pulumi refresh), then decide again")
        if answer.status in (401, 403):
            mine = f"this stack's key is {self._identity.key_hash}" if self._identity else "no identity was used"
            return CasForbidden(
                text,
                fix=f"{mine}: use an identity that has the permission, or have it granted. CREATOR in an access policy "
                "is whoever uploaded the newest version, who can name this key in the next one",
            )
        if answer.status in (429, 503):
            return CasError(text, fix="try again later: nothing was done")
        return CasError(f"{text} (status {answer.status})")


def _system_error(problem: BaseException) -> OSError | None:
    """What the operating system or TLS said, below what the HTTP library made of it."""
    below: BaseException | None = problem
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
    return below


def _document(answer: _Answer, what: str, url: str) -> Mapping[str, object]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CasError(f"the CAS {url} answers something that is no {what}")
    return found


def _retry_after(headers: "httpx.Headers") -> float:
    text = headers.get("retry-after", "1")
    return min(float(text) if text.isdigit() else 1.0, _LONGEST_PAUSE)
