"""Session descriptions on their way in: parsed, refused by name where not served, hashed, written down."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import yaml
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scone_cas import log
from scone_cas.errors import Reason, Refusal
from scone_cas.sessions.authorization import Caller, check_certificates, creator_of, may_name_creator, names_creator
from scone_cas.sessions.unsupported_features import refuse_unserved
from scone_cas.sessions.wire_form import wire_problems
from scone_policy.errors import PolicyError
from scone_policy.forms.canonical import canonical_json
from scone_policy.model.session import Session
from scone_policy.rules.check import creator_problem, parse_document, recall, recall_document
from scone_policy.rules.warnings import cautions
from scone_policy.sealed.encrypted import decrypt_session
from scone_policy.sealed.signed import Signed, parse_signed, verify_signed
from scone_policy.syntax.names import session_name
from scone_policy.syntax.problems import refuse
from scone_policy.syntax.yaml_source import LOADER, MAX_BYTES, MAX_DEPTH, MAX_NODES, NUMBER, Number, Tagged, load, show

_DOMAIN = b"scone-cas session v1\0"
_MOST_CAUTIONS = 20
"""Lines of the log that an upload may cause."""
if TYPE_CHECKING:
    _BASE = yaml.SafeDumper
else:
    _BASE = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ROOM = {"creator": {"signer": ""}}
"""What a creator adds in values: a description without one must still be readable with one."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A session as uploaded: the model to decide by, and the plain data that is hashed and shown again."""

    session: Session
    data: Mapping[str, object] = field(repr=False)
    base: str = field(repr=False)
    """The description as YAML, in the uploader's order, without a creator; it was read back."""
    signers: tuple[str, ...] = ()
    """Who signed it (SubjectPublicKeyInfo as PEM), each signature verified."""

    def with_creator(self, creator: str | dict[str, str]) -> "Description":
        """The same with the creator (a PEM certificate, or `{signer: <PEM>}`) filled in. Raises Refusal."""
        if len(self.base.encode()) + len(_written({"creator": creator}).encode()) > MAX_BYTES:
            raise _too_large()
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
        creator = self.data.get("creator")
        return self.base if creator is None else self.base + _written({"creator": creator})


class _Dumper(_BASE):
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
    """The description in an upload, plain or signed. Raises Refusal, as `open_signed` and `judged` do."""
    return judged(open_signed(body))


def open_signed(body: bytes) -> Signed:
    """The text in an upload, and who signed it. Raises Refusal (INVALID) for signatures that do not verify."""
    try:
        text = body.decode("utf-8")
        sealed = parse_signed(text)
        return verify_signed(sealed) if sealed is not None else Signed(text=text, signers=())
    except UnicodeDecodeError:
        raise Refusal(Reason.INVALID, "the session is not UTF-8 text") from None
    except PolicyError as problem:
        raise Refusal(Reason.INVALID, str(problem)) from None


def name_in(text: str) -> str | None:
    """The name that a description gives itself, read without building or judging the rest; None without a good one.

    What is not found here is judged, and refused with all that is wrong.
    """
    depth, key = 0, None
    try:
        for event in islice(yaml.parse(text, Loader=LOADER), 3 * MAX_NODES):
            if depth == 1 and isinstance(event, yaml.ScalarEvent):
                if key == "name":
                    return session_name(event.value)
                key = event.value if key is None else None
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
                key = None if depth == 1 else key
            elif isinstance(event, yaml.AliasEvent) and depth == 1:
                key = None
            if depth > MAX_DEPTH:
                return None
    except (yaml.YAMLError, UnicodeError, ValueError):
        pass
    return None


def judged(signed: Signed) -> Description:
    """The description in a text, judged by every rule, and read back from the text that will be stored.

    Raises Refusal: INVALID for what breaks a rule or would be too large to be read again, UNSUPPORTED for what is not
    served.
    """
    try:
        document = load(signed.text, file="session")
        session = parse_document(document)
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
    data = _with_fragments(data)
    written = _written(data)
    if not _reads_back(written, data, session):
        raise _too_large()
    return Description(session=session, data=data, base=written, signers=signed.signers)


def _written(data: Mapping[str, object]) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16))


def _reads_back(text: str, data: Mapping[str, object], session: Session) -> bool:
    """Whether what will be stored means the same when it is read by the way that reads it ever after."""
    try:
        load(text + _written(_ROOM))
        again = load(text)
        assert isinstance(again.data, dict)
        same = _hashed(_with_fragments(again.data)) == _hashed(data)
        return same and recall_document(again) == session
    except PolicyError:
        return False


def _too_large() -> Refusal:
    return Refusal(
        Reason.INVALID,
        "written out, the session is larger or deeper than this CAS reads (1 MiB, 100000 values, 64 levels): "
        "split it, or leave out what is not needed",
    )


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
    for caution in cautions(session)[:_MOST_CAUTIONS]:
        log.event("caution", session=session.name, where=show(caution.path), what=caution.rule)
