"""What an attested service receives: placeholders and host values put in, then sealed to the key of its evidence."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from scone_cas.evidence import Evidence
from scone_cas.hostvalues import host_argument, host_variable
from scone_cas.spelling import spell
from scone_cas.values import Value
from scone_policy.placeholders import Placeholder, parts, resolve
from scone_policy.services import Service
from scone_policy.session import Session

_CONTEXT = b"pulumi-scone answer v1\0"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

Values = Callable[[str], Value]


class UndeliverableError(Exception):
    """A value cannot be put where the policy wants it. The text says which and why, without the value."""


def configuration(session: Session, service: Service, values: Values, evidence: Evidence) -> bytes:
    """The plaintext of the answer (docs/enclave-protocol.md, step 2).

    Raises UndeliverableError, MissingHostValueError, and whatever `values` raises.
    """
    fill = _Filler(session, values)
    answer = {
        "protocol": 1,
        "config_id": evidence.config_id,
        "arguments": [_argument(text, evidence, fill) for text in service.command or ()],
        "environment": {
            name: _variable(name, text, evidence, fill) for name, text in sorted(service.environment.items())
        },
        "working_directory": service.pwd,
        "protection": _protection(service, fill),
        "files": _files(session, service, fill),
    }
    return json.dumps(answer, ensure_ascii=False).encode()


def seal(evidence: Evidence, plaintext: bytes) -> bytes:
    """HPKE to the evidence's key, bound to the evidence. Raises ValueError when that key is of low order."""
    info = _CONTEXT + hashlib.sha256(evidence.body).digest()
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(evidence.public_key), info)


class _Filler:
    """Replaces placeholders; what was put in is never looked at again."""

    def __init__(self, session: Session, values: Values) -> None:
        self._kinds: Mapping[str, str | None] = {name: secret.kind for name, secret in session.secrets.items()}
        self._values = values

    def content(self, text: str) -> bytes:
        return b"".join(self._piece(part) for part in parts(text))

    def text(self, where: str, text: str) -> str:
        try:
            filled = self.content(text).decode()
        except UnicodeDecodeError:
            raise UndeliverableError(f"{where}: a secret put in here is not text") from None
        if "\0" in filled:
            raise UndeliverableError(f"{where}: a secret put in here holds NUL")
        return filled

    def key(self, text: str) -> str:
        (part,) = parts(text)
        if not isinstance(part, Placeholder):
            return part
        name, _ = resolve(part, self._kinds)
        value = self._values(name)
        if value.kind != "binary" or len(value.content) != 32:
            raise UndeliverableError(f"fspf_key: {name} is not a binary secret of 32 bytes")
        return value.content.hex()

    def _piece(self, part: str | Placeholder) -> bytes:
        if isinstance(part, str):
            return part.encode()
        name, suffix = resolve(part, self._kinds)
        try:
            return spell(self._values(name), suffix, escape_json=part.escape_json)
        except ValueError as problem:
            raise UndeliverableError(f"secret {name}: {problem}") from None


def _argument(text: str, evidence: Evidence, fill: _Filler) -> str:
    given = host_argument(text, evidence.host_arguments)
    return fill.text("command", text) if given is None else given


def _variable(name: str, text: str, evidence: Evidence, fill: _Filler) -> str:
    given = host_variable(text, evidence.host_environment)
    return fill.text(f"environment.{name}", text) if given is None else given


def _protection(service: Service, fill: _Filler) -> dict[str, str] | None:
    if service.fspf_tag is None or service.fspf_key is None:
        return None
    return {"key": fill.key(service.fspf_key), "tag": service.fspf_tag}


def _files(session: Session, service: Service, fill: _Filler) -> list[dict[str, object]]:
    if service.image_name is None:
        return []
    return [
        {"path": path, "content": base64.b64encode(fill.content(file.content or "")).decode(), "mode": file.permission}
        for path, file in sorted(session.images[service.image_name].injection_files.items())
    ]
