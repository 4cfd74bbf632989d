"""The CAS's evidence about itself, of the software mode: no hardware root, always debug (docs/cas-attestation.md)."""

import base64
import hashlib
import json
import re
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

import scone_cas
from scone_cas import VERSION, log
from scone_cas.errors import KeyStoreError, Reason, Refusal
from scone_cas.identity.cas_identity import CasIdentity, TlsKey
from scone_policy.keys.cas_evidence import CONTEXT, FORMAT, software_key
from scone_policy.keys.key_hash import certificate_key_hash

NONCE_SIZE = 32
_NONCE = re.compile("[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""The one spelling of 32 bytes in base64url."""


def measured_files(folder: Path = Path(scone_cas.__file__).parent) -> list[str]:
    """The source files of a package, in order of their paths; of the whole CAS, wherever in it this module lies."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


def measure(folder: Path = Path(scone_cas.__file__).parent) -> bytes:
    """SHA-256 over the package's own source files, in order of their relative paths."""
    total = hashlib.sha256()
    for name in measured_files(folder):
        total.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return total.digest()


class CasEvidenceIssuer:
    """Makes evidence for nonces. `session_encryption_key`: X25519, what sessions are encrypted to."""

    def __init__(
        self,
        identity: CasIdentity,
        mrenclave: bytes,
        session_encryption_key: X25519PublicKey,
        tls: TlsKey | None = None,
    ) -> None:
        self._identity = identity
        self._claims = {
            "format": FORMAT,
            "debug": True,
            "cas_key": identity.key_hash,
            "software_key": software_key(mrenclave),
            "mrenclave": mrenclave.hex(),
            "mrsigner": "00" * 32,
            "isvprodid": 0,
            "isvsvn": 0,
            "tcb_status": "simulated",
            "session_encryption_key": session_encryption_key.public_bytes_raw().hex(),
            "version": VERSION,
        }
        if tls is not None and tls.certificates[0] != identity.certificate:
            # Else whoever has a TLS key of an earlier run could pass evidence of the present one on as its own.
            self._claims["tls_key"] = certificate_key_hash(tls.certificates[0])

    def evidence(self, nonce: str) -> dict[str, object]:
        """Evidence over a nonce (32 bytes, base64url). Raises Refusal when it is none."""
        _check_nonce(nonce)
        body = json.dumps(self._claims | {"nonce": nonce}).encode()
        try:
            signature = self._identity.key.sign(CONTEXT + body, ec.ECDSA(hashes.SHA256()))
        except KeyStoreError as problem:
            log.event("key-store-fault", what=problem.what, where=problem.where)
            raise Refusal(
                Reason.UNAVAILABLE, "the key store that holds the CAS's identity does not sign: try again later"
            ) from None
        return {"evidence": {"body": _base64(body), "signature": _base64(signature)}}


def _check_nonce(nonce: str) -> None:
    if not _NONCE.fullmatch(nonce):
        raise Refusal(Reason.INVALID, f"nonce: must be {NONCE_SIZE} bytes in base64url")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
