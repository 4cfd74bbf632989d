"""Session descriptions on their way in: parsed, refused by name where not served, hashed, written down."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import yaml
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import scone_policy
from scone_cas import log
from scone_cas.errors import Reason, Refusal
from scone_cas.sessions.authorization import Caller, check_certificates, creator_of, may_name_creator, names_creator
from scone_cas.sessions.unsupported_features import refuse_unserved
from scone_cas.sessions.wire_form import wire_problems
from scone_policy.errors import PolicyError
from scone_policy.forms.canonical import canonical_json
from scone_policy.model.session import Session
from scone_policy.rules.check import creator_problem, recall
from scone_policy.rules.warnings import cautions
from scone_policy.sealed.encrypted import decrypt_session
from scone_policy.sealed.signed import Signed, parse_signed, verify_signed
from scone_policy.syntax.problems import refuse
from scone_policy.syntax.yaml_source import NUMBER, Number, Tagged, load, show

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

    def created_by(self, caller: Caller) -> "Description":
        """The same with its creator, where its access policy depends on one or may do so. Raises Refusal."""
        policy = self.session.access_policy
        if names_creator(policy):
            creator = creator_of(caller)
            if creator is None:
                raise Refusal(
                    Reason.FORBIDDEN, "no client certificate was presented, and the access policy refers to CREATOR"
                )
            return self.with_creator(creator)
        if may_name_creator(policy) and len(caller.signers) < 2:
            creator = creator_of(caller)
            return self if creator is None else self.with_creator(creator)
        return self

    @property
    def hash(self) -> str:
        """SHA-256, 64 hex digits, over the whole description with creator and predecessor: any change changes it."""
        return hashlib.sha256(_DOMAIN + canonical_json(_hashed(self.data)).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The description as YAML, in the uploader's order."""
        return str(yaml.dump(self.data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16))


class _Dumper(yaml.SafeDumper):
    """Writes numbers that the reader kept as text (`0.10`) as that text, and everything out in full."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Shared values are written twice rather than referred to."""
        return True


class _FragmentNumber(Number):
    """A number in a config fragment: only there it is not the same as its digits in quotes."""

    __slots__ = ()


def _represent_number(dumper: _Dumper, value: _FragmentNumber) -> yaml.ScalarNode:
    tag = dumper.resolve(yaml.ScalarNode, str(value), (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, str(value))


def _represent_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """In quotes where our reader would take it for a number, which PyYAML knows fewer spellings of."""
    if NUMBER.fullmatch(value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'")
    return dumper.represent_str(value)


_Dumper.add_representer(str, _represent_text)
# Of the two tags only this one is served.
_Dumper.add_representer(Tagged, lambda dumper, _: dumper.represent_scalar("!cas", ""))
_Dumper.add_representer(Number, lambda dumper, value: dumper.represent_str(str(value)))
_Dumper.add_representer(_FragmentNumber, _represent_number)


def _hashed(tree: object) -> object:
    """The tree with a mark at fragments' numbers: NUL, which no text holds."""
    if isinstance(tree, _FragmentNumber):
        return f"\0{tree}"
    if isinstance(tree, Mapping):
        return {key: _hashed(value) for key, value in tree.items()}
    return [_hashed(item) for item in tree] if isinstance(tree, list) else tree


def _with_fragments(data: dict[str, object]) -> dict[str, object]:
    """The description's data with the numbers in config fragments told apart from texts."""
    secrets = data.get("secrets")
    if isinstance(secrets, Mapping):
        return {**data, "secrets": {name: _fragment(secret) for name, secret in secrets.items()}}
    return {**data, "secrets": [_fragment(secret) for secret in secrets]} if isinstance(secrets, list) else data


def _fragment(secret: object) -> object:
    if not isinstance(secret, Mapping) or secret.get("kind") != "config-fragment" or "value" not in secret:
        return secret
    return {**secret, "value": _numbered(secret["value"])}


def _numbered(tree: object) -> object:
    if isinstance(tree, Mapping):
        return {key: _numbered(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_numbered(item) for item in tree]
    return _FragmentNumber(tree) if isinstance(tree, Number) else tree


def read_upload(body: bytes) -> Description:
    """The description in an upload, plain or signed.

    Raises Refusal: INVALID for what breaks a rule and for signatures that do not verify, UNSUPPORTED for what is not
    served.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(Reason.INVALID, "the session is not UTF-8 text") from None
    try:
        sealed = parse_signed(text)
        signed = verify_signed(sealed) if sealed is not None else Signed(text=text, signers=())
        session = scone_policy.parse(signed.text, file="session")
        document = load(signed.text, file="session")
        data = document.data
        assert isinstance(data, dict)
        problems = wire_problems(data)
        if problems:
            raise refuse(problems, document)
    except PolicyError as problem:
        raise Refusal(Reason.INVALID, str(problem)) from None
    if (by_hand := creator_problem(session)) is not None:
        raise Refusal(Reason.INVALID, f"creator: {by_hand.rule}")
    if session.predecessor is not None and session.namespace_hash is not None:
        raise Refusal(Reason.INVALID, "namespace_hash and predecessor exclude each other")
    _check(session)
    # What was read is uploaded again: who creates this version is told anew.
    data = {key: value for key, value in data.items() if key != "creator"}
    session = session.model_copy(update={"creator": None})
    return Description(session=session, data=_with_fragments(data), signers=signed.signers)


def open_upload(body: bytes, key: X25519PrivateKey) -> bytes:
    """What was encrypted to this CAS: a description, plain or signed. Raises Refusal."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(Reason.INVALID, "an encrypted session is a JSON object with encrypted_session and encryption_key")
    try:
        return decrypt_session(document, key=key).encode()
    except PolicyError as problem:
        raise Refusal(Reason.INVALID, str(problem)) from None


def stored(text: str) -> Session:
    """The model of a description that this CAS wrote down itself."""
    return recall(text)


def _check(session: Session) -> None:
    refuse_unserved(session)
    check_certificates(session.access_policy)
    for caution in cautions(session):
        log.event("caution", session=session.name, where=show(caution.path), what=caution.rule)
