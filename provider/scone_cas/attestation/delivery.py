"""What an attested service receives: placeholders and host values put in, then sealed to the key of its evidence."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from scone_cas.attestation.evidence import Evidence
from scone_cas.errors import UndeliverableError
from scone_cas.secrets.substitution import PlaceholderSubstituter
from scone_cas.sessions.host_values import host_argument, host_variable
from scone_policy.model.services import Service
from scone_policy.model.session import Session

_CONTEXT = b"pulumi-scone answer v1\0"
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def configuration(
    session: Session, service: Service, fill: PlaceholderSubstituter, evidence: Evidence, *, tag: str | None
) -> dict[str, object]:
    """What the answer says (docs/enclave-protocol.md, step 2). `tag`: that of the service's file system, as it is now.

    Raises UndeliverableError, MissingHostValueError, and whatever `fill` raises.
    """
    return {
        "protocol": 1,
        "config_id": evidence.config_id,
        "arguments": [_argument(text, evidence, fill) for text in service.command or ()],
        "environment": dict(
            sorted(_variable(name, text, evidence, fill) for name, text in service.environment.items())
        ),
        "working_directory": None if service.pwd is None else _folder("pwd", service.pwd, fill),
        "protection": _protection(service, fill, tag),
        "files": _files(session, service, fill),
    }


def file_system(service: Service, fill: PlaceholderSubstituter) -> dict[str, object] | None:
    """Where the service's protected file system is described, and what may be done to its tag."""
    if service.fspf_key is None:
        return None
    path = None if service.fspf_path is None else _folder("fspf_path", service.fspf_path, fill)
    return {"path": path, "update_policy": service.fspf_update_policy}


def templates(session: Session, service: Service, fill: PlaceholderSubstituter) -> dict[str, object] | None:
    """The files of the image that are templates, and what may be put into them; None when there is no such file."""
    image = session.images[service.image_name] if service.image_name is not None else None
    files = [
        {"path": path, "mode": file.permission}
        for path, file in sorted(image.injection_files.items() if image is not None else ())
        if file.content is None
    ]
    if image is None or not files:
        return None
    provided = session.secrets if image.provide_secrets is None else image.provide_secrets
    values = {form: value for name in sorted(provided) for form, value in fill.forms(name).items()}
    return {"files": files, "values": {form: base64.b64encode(value).decode() for form, value in values.items()}}


def has_templates(session: Session, service: Service) -> bool:
    """True when files of the service's own image are templates."""
    if service.image_name is None:
        return False
    return any(file.content is None for file in session.images[service.image_name].injection_files.values())


def written(answer: dict[str, object]) -> bytes:
    """The plaintext of an answer."""
    return _ENCODER.encode(answer).encode()


def seal(evidence: Evidence, plaintext: bytes) -> bytes:
    """HPKE to the evidence's key, bound to the evidence. Raises ValueError when that key is of low order."""
    info = _CONTEXT + hashlib.sha256(evidence.body).digest()
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(evidence.public_key), info)


def _argument(text: str, evidence: Evidence, fill: PlaceholderSubstituter) -> str:
    given = host_argument(text, evidence.host_arguments)
    return fill.text("command", text) if given is None else given


def _variable(name: str, text: str, evidence: Evidence, fill: PlaceholderSubstituter) -> tuple[str, str]:
    given = host_variable(name, text, evidence.host_environment)
    return (name, fill.text(f"environment.{name}", text)) if given is None else given


def _folder(where: str, text: str, fill: PlaceholderSubstituter) -> str:
    folder = fill.text(where, text)
    if not folder.startswith("/") and folder != text:
        raise UndeliverableError(f"{where}: what the secrets make of it is not an absolute path")
    return folder


def _protection(service: Service, fill: PlaceholderSubstituter, tag: str | None) -> dict[str, str | None] | None:
    if service.fspf_key is None:
        return None
    return {"key": fill.key("fspf_key", service.fspf_key), "tag": tag}


def _files(session: Session, service: Service, fill: PlaceholderSubstituter) -> list[dict[str, object]]:
    if service.image_name is None:
        return []
    return [
        {"path": path, "content": base64.b64encode(fill.content(file.content)).decode(), "mode": file.permission}
        for path, file in sorted(session.images[service.image_name].injection_files.items())
        if file.content is not None
    ]
