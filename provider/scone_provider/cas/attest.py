"""Trust before use: finds out which key a CAS has, and whether its evidence is tolerated (docs/cas-attestation.md)."""

import hmac
import http.client
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from scone_policy.errors import PolicyError
from scone_policy.keys.cas_evidence import CasEvidence, EvidenceError, Flaw, verify_evidence
from scone_policy.keys.key_hash import decode_key_hash
from scone_provider.cas.address import CasAddress
from scone_provider.cas.errors import CasUnreachable
from scone_provider.cas.tolerance import Tolerance, judge
from scone_provider.cas.transport import READ_TIME, key_hash_of, peer_certificate, peer_key_hash, unverified
from scone_provider.errors import TrustError

_LARGEST = 256 * 1024
_TRIES = 3
_FLAWS = {
    Flaw.CERTIFICATE: "the certificate of the CAS {url} ",
    Flaw.CAS_KEY: "the evidence of the CAS {url} is for another key than its TLS key",
    Flaw.SIGNATURE: "the signature on the evidence of the CAS {url} does not verify",
    Flaw.NONCE: "the evidence of the CAS {url} is not fresh",
    Flaw.CONTRADICTION: "the evidence of the CAS {url} contradicts itself",
}
"""What is said of evidence with that flaw; of any other, that it is none."""


class UnknownEvidence(TrustError):  # noqa: N818 - reads as what happened
    """Evidence of a format that cannot be judged here, a vendor CAS's for example."""


class _BusyError(Exception):
    """429 or 503."""


@dataclass(frozen=True, kw_only=True)
class Attested:
    """A CAS that may be trusted: its certificate, and the evidence, None where the pin was the trust."""

    certificate: x509.Certificate
    key_hash: str
    evidence: CasEvidence | None


def attest(
    address: CasAddress, *, tolerance: Tolerance, cas_key: str | None, pause: Callable[[float], None] = time.sleep
) -> Attested:
    """Compare the pin, or judge evidence. Raises TrustError, or CasUnreachable when nobody answers."""
    _check_pin(cas_key)
    for left in reversed(range(_TRIES)):
        try:
            found = _look(address, cas_key)
            break
        except (OSError, http.client.HTTPException) as problem:
            raise unreachable(address, problem) from None
        except _BusyError:
            if not left:
                raise CasUnreachable(
                    f"the CAS {address.url} is too busy to be attested", fix="try again later"
                ) from None
            pause(1.0)
    missing = judge(found.evidence, tolerance) if found.evidence is not None else []
    if missing:
        lines = "".join(f"\n  - {item}" for item in missing)
        raise TrustError(
            f"the evidence of the CAS {address.url} is not tolerated. Missing:{lines}",
            where="tolerance",
            fix="use another CAS, pin its key (cas_key), or give the switches if you accept what they mean",
        )
    return found


def presented_key(address: CasAddress) -> str:
    """The key hash of whoever answers there, trusted or not: good for a warning, for nothing else.

    Raises CasUnreachable when nobody answers.
    """
    try:
        with unverified(address) as secured:
            return peer_key_hash(secured)
    except OSError as problem:
        raise unreachable(address, problem) from None


def _look(address: CasAddress, cas_key: str | None) -> Attested:
    """Who answers there: its certificate compared with the pin, or with its evidence, which is not judged yet."""
    with unverified(address) as secured:
        certificate = peer_certificate(secured)
        key_hash = key_hash_of(certificate)
        if cas_key is not None:
            _compare_pin(address, key_hash, cas_key)
            return Attested(certificate=certificate, key_hash=key_hash, evidence=None)
        nonce = secrets.token_urlsafe(32)
        evidence = read_evidence(_ask(secured, address, nonce), certificate=certificate, nonce=nonce, url=address.url)
        return Attested(certificate=certificate, key_hash=key_hash, evidence=evidence)


def unreachable(address: CasAddress, problem: Exception, *, waited: float = READ_TIME) -> CasUnreachable:
    """The error for a CAS that does not answer; `waited`: seconds, where that was for too long."""
    if isinstance(problem, TimeoutError):
        return CasUnreachable(
            f"the CAS {address.url} gave no whole answer at {address.host}:{address.port} within {waited:.0f} seconds",
            where="cas_url",
            fix="look at its log and at what stands between: it is overloaded, or something else answers there; then "
            "run this again",
        )
    if isinstance(problem, socket.gaierror):
        reason = "its name is unknown"
    elif isinstance(problem, ssl.SSLError):
        reason = "it does not speak TLS as a CAS does"
    elif isinstance(problem, OSError) and problem.strerror:
        reason = problem.strerror.lower()
    else:
        reason = "the connection broke"
    return CasUnreachable(
        f"the CAS {address.url} cannot be reached at {address.host}:{address.port}: {reason}",
        where="cas_url",
        fix='start it, or say where it is: pulumi config set scone:connectTo \'{"<host>": "<address>:<port>"}\'',
    )


def read_evidence(answer: bytes, *, certificate: x509.Certificate, nonce: str, url: str) -> CasEvidence:
    """The claims of an answer to `/v1/attest`, bound to this certificate and nonce. Raises TrustError."""
    try:
        return verify_evidence(answer, certificate=certificate, nonce=nonce, now=datetime.now(UTC))
    except EvidenceError as problem:
        if problem.flaw is Flaw.FORMAT:
            raise UnknownEvidence(
                f"the CAS {url} gives evidence of a format that cannot be judged here",
                where="tolerance",
                fix="attest it with the vendor's CLI and pin its key (cas_key in the Meshfile)",
            ) from None
        said = _FLAWS.get(problem.flaw, "the CAS {url} answers something that is no evidence")
        raise TrustError(said.format(url=url) + str(problem)) from None


def _check_pin(cas_key: str | None) -> None:
    if cas_key is None:
        return
    try:
        decode_key_hash(cas_key)
    except PolicyError as problem:
        raise TrustError(problem.what, where="cas_key", fix=problem.fix) from None


def _compare_pin(address: CasAddress, found: str, pinned: str) -> None:
    if not hmac.compare_digest(found.encode(), pinned.encode()):
        raise TrustError(
            f"the CAS {address.url} has the key {found}, but {pinned} is pinned",
            where="cas_key",
            fix="find out who answers there; pin the new key only if the CAS was replaced on purpose",
        )


def _ask(secured: ssl.SSLSocket, address: CasAddress, nonce: str) -> bytes:
    connection = http.client.HTTPConnection(address.host, address.port)
    connection.sock = secured
    connection.request("GET", f"/v1/attest?nonce={nonce}", headers={"Connection": "close"})
    answer = connection.getresponse()
    body = answer.read(_LARGEST + 1)
    if answer.status in (429, 503):
        raise _BusyError
    if answer.status != 200 or len(body) > _LARGEST:
        raise TrustError(
            f"the CAS {address.url} gives no evidence (status {answer.status})",
            where="tolerance",
            fix="attest it with the vendor's CLI and pin its key (cas_key in the Meshfile)",
        )
    return body
