"""Session descriptions on their way in: parsed, refused by name where not served, hashed, written down."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import yaml
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import scone_policy
from scone_cas.access import check_certificates
from scone_cas.access_values import check_references
from scone_cas.hostvalues import check_positions
from scone_cas.messages import Refusal
from scone_cas.unsupported import refuse_unserved
from scone_policy.canonical import canonical_json
from scone_policy.encrypted import decrypt_session
from scone_policy.errors import PolicyError
from scone_policy.placeholders import Placeholder, parts, resolve
from scone_policy.services import Service
from scone_policy.session import Session
from scone_policy.signed import Signed, parse_signed, verify_signed
from scone_policy.source import Number, load

_DOMAIN = b"scone-cas session v1\0"


@dataclass(frozen=True, kw_only=True)
class Description:
    """A session as uploaded: the model to decide by, and the plain data that is hashed and shown again."""

    session: Session
    data: Mapping[str, object] = field(repr=False)
    signers: tuple[str, ...] = ()
    """Who signed it (SubjectPublicKeyInfo as PEM), each signature verified."""

    def with_creator(self, creator: str | dict[str, str]) -> "Description":
        """The same with the creator (a PEM certificate, or `{signer: <PEM>}`) filled in."""
        session = self.session.model_copy(update={"creator": creator})
        return replace(self, session=session, data={**self.data, "creator": creator})

    @property
    def hash(self) -> str:
        """SHA-256, 64 hex digits, over the whole description with creator and predecessor: any change changes it."""
        return hashlib.sha256(_DOMAIN + canonical_json(self.data).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The description as YAML, in the uploader's order."""
        return str(yaml.dump(self.data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16))


class _Dumper(yaml.SafeDumper):
    """Writes numbers that the reader kept as text (`0.10`) as that text, and everything out in full."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Shared values are written twice rather than referred to."""
        return True


_Dumper.add_representer(Number, lambda dumper, value: dumper.represent_str(str(value)))


def read_upload(body: bytes) -> Description:
    """The description in an upload, plain or signed.

    Raises Refusal: 400 for what breaks a rule and for signatures that do not verify, 501 for what is not served.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, "the session is not UTF-8 text") from None
    try:
        document = parse_signed(text)
        signed = verify_signed(document) if document is not None else Signed(text=text, signers=())
        session = scone_policy.parse(signed.text, file="session")
        data = load(signed.text, file="session").data
    except PolicyError as problem:
        raise Refusal(400, str(problem)) from None
    assert isinstance(data, dict)
    if session.creator is not None:
        raise Refusal(400, "creator: is filled in by the CAS, never written by hand")
    if session.predecessor is not None and session.namespace_hash is not None:
        raise Refusal(400, "namespace_hash and predecessor exclude each other")
    _check(session)
    return Description(session=session, data=data, signers=signed.signers)


def open_upload(body: bytes, key: X25519PrivateKey) -> bytes:
    """What was encrypted to this CAS: a description, plain or signed. Raises Refusal."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(400, "an encrypted session is a JSON object with encrypted_session and encryption_key")
    try:
        return decrypt_session(document, key=key).encode()
    except PolicyError as problem:
        raise Refusal(400, str(problem)) from None


def stored(text: str) -> Session:
    """The model of a description that this CAS wrote down itself."""
    return scone_policy.parse(text)


def _check(session: Session) -> None:
    refuse_unserved(session)
    check_certificates(session.access_policy)
    check_references(session)
    for name, service in session.services.items():
        _check_service(session, f"services.{name}", service)


def _check_service(session: Session, where: str, service: Service) -> None:
    assert service.command is not None
    check_positions(f"{where}.command", service.command)
    for path, text in _texts(where, service):
        for part in parts(text):
            if isinstance(part, Placeholder):
                _check_spelling(session, path, part)
    if service.fspf_key is not None and service.fspf_key.startswith("$$"):
        _check_key(session, f"{where}.fspf_key", service.fspf_key)


def _texts(where: str, service: Service) -> Iterator[tuple[str, str]]:
    for argument in service.command or ():
        yield f"{where}.command", argument
    for variable, text in service.environment.items():
        yield f"{where}.environment.{variable}", text


def _check_spelling(session: Session, where: str, placeholder: Placeholder) -> None:
    """Raw bytes cannot be an argument or a variable unless they are known to be text without NUL."""
    name, suffix = resolve(placeholder, {key: secret.kind for key, secret in session.secrets.items()})
    secret = session.secrets[name]
    if secret.kind != "binary" or suffix not in ("", ":bin"):
        return
    try:
        text = bytes.fromhex(secret.value or "").decode() if secret.value is not None else "\0"
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Refusal(
            400,
            f"{where}: the binary secret {name} may hold NUL, which no argument or variable can: "
            f"write $$SCONE::{name}:hex$$ or $$SCONE::{name}:base64$$",
        )


def _check_key(session: Session, where: str, key: str) -> None:
    (placeholder,) = parts(key)
    assert isinstance(placeholder, Placeholder)
    name, _ = resolve(placeholder, {item: secret.kind for item, secret in session.secrets.items()})
    secret = session.secrets[name]
    size = len(secret.value) // 2 if secret.value is not None else secret.size
    if secret.import_ is None and (secret.kind != "binary" or size != 32):
        raise Refusal(400, f"{where}: {name} must be a binary secret of 32 bytes")
