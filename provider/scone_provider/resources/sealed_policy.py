"""`SealedPolicy`: a session that somebody else uploads: signed, encrypted for one CAS, or as it is."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, ReadResult, UpdateResult
from pulumi.runtime.rpc import wrap_rpc_secret

import scone_policy
from scone_policy.model.session import Session
from scone_policy.sealed.encrypted import encrypt_session
from scone_policy.sealed.signed import sign_session
from scone_provider.cas.client import CasClient
from scone_provider.cas.stored_session import StoredSession
from scone_provider.errors import CasError
from scone_provider.manifest.mesh import ENCRYPTED, ENCRYPTED_ONLY, MODES, NO_UPLOAD, SIGNED
from scone_provider.policy.files import remove_policy, write_policy
from scone_provider.policy.owners import Owner, marked, owners, with_taker, without_owners
from scone_provider.policy.properties import is_other_policy, wanted_there
from scone_provider.policy.state import with_secrets
from scone_provider.policy.takeover import How, Standing
from scone_provider.policy.upload import upload
from scone_provider.resources._engine import Props, clean, warn
from scone_provider.resources._run import RUN
from scone_provider.resources.security_policy import SecurityPolicyProvider

_OWN = ("mode", "recipient", "file")
_SEALING = {SIGNED, ENCRYPTED, NO_UPLOAD, ENCRYPTED_ONLY}


class SealedPolicyProvider(SecurityPolicyProvider):
    """Makes the document when the policy changes, and keeps it: nothing changed, nothing is sealed anew.

    Inputs: those of a SecurityPolicy, `mode` (of the Meshfile), `recipient` (session encryption key, 64 hex digits)
    and `file` (where the document is written, relative to the program). Outputs add `document`
    (policy; encryption_key or signatures), `predecessor` (of the version in it), `owner` (who wrote the file) and
    `attested_key`.
    """

    is_uploader = False

    def check(self, olds: Props, news: Props) -> CheckResult:
        """As for a SecurityPolicy; the mode must be one of those that do not upload."""
        found = super().check(olds, news)
        if found.failures:
            return found
        mode = news.get("mode")
        if isinstance(mode, str) and mode not in _SEALING:
            rule = f"{mode} is no mode of sealing" if mode in MODES else f"must be one of {', '.join(sorted(_SEALING))}"
            return CheckResult(news, [pulumi.dynamic.CheckFailure("", f"mode: {rule}")])
        return CheckResult({**found.inputs, **{key: news[key] for key in _OWN if news.get(key)}}, [])

    @clean
    def create(self, props: Props) -> CreateResult:
        """Seal the first version, or the successor of what is there, where this resource may have it."""
        cas, wanted = self._open(props)
        found, me = cas.read(wanted.name), RUN.new_owner()
        predecessor = found.hash if found is not None else None
        if found is not None and not scone_policy.is_retired(found.parsed()):
            predecessor = self._taken(cas, props, wanted, found, me)
        return CreateResult(wanted.name, self._sealed(cas, props, wanted, predecessor=predecessor, me=me))

    def _open(self, props: Props) -> tuple[CasClient, Session]:
        return self._attested(props), wanted_there(props)

    def _taken(self, cas: CasClient, props: Props, wanted: Session, found: StoredSession, me: Owner) -> str:
        """The version to seal on top of. A policy that says whose it is says from here on that it is this resource's.

        Raises CasError where it may not be taken, or the stack's key may not write it.
        """
        current = found.parsed()
        difference = self._comparison.difference(without_owners(current), wanted, props)
        standing = Standing(
            current=current,
            wanted=wanted,
            me=me,
            is_own_key=not difference,  # somebody else uploads: what it says is all there is to go by
            adopt=bool(props.get("adopt")),
            difference=difference,
        )
        how = standing.judge(cas.url)
        # The operator's upload will have no marks: what is deleted in this run knows by this.
        RUN.note(cas.key_hash, wanted.name)
        if how is How.WRITE and standing.there:
            whom = with_taker(standing.there, me, adopt=standing.adopt)
            text = marked(current, whom).wire(predecessor=found.hash)
            return upload(
                cas, wanted.name, text, predecessor=found.hash, is_wanted=lambda now: owners(now.parsed()) == whom
            )
        return found.hash

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """Seal the successor of what CAS has now, if that is what this stack sealed last.

        Where neither policy, mode nor CAS is another one the document stays: whoever uploads a new one pays for it with
        what CAS then makes anew.
        """
        cas, wanted = self._open(news)
        is_same = all(olds.get(key) == news.get(key) for key in ("mode", "recipient"))
        if is_same and not is_other_policy(olds, news) and cas.key_hash == olds.get("attested_key"):
            me = Owner.of(olds.get("owner"))
            return UpdateResult(self._outs(news, olds["document"], olds["predecessor"], cas, me=me, olds=olds))
        found = cas.read(wanted.name)
        known = olds.get("predecessor")
        if found is None or found.hash == known:
            warn(f"{wanted.name}: the version before this one was never uploaded to {cas.url}.")
        elif difference := self._comparison.difference(without_owners(found.parsed()), _last(olds), olds):
            raise CasError(
                "CAS has a version of this policy that this stack did not make; what would have to be undone:\n"
                + "\n".join(f"    {line}" for line in difference),
                where=wanted.name,
                fix="find out who uploaded it; with its content in this program, or adopt=True anew, go on",
            )
        me = Owner.of(olds.get("owner")) or RUN.new_owner()
        predecessor = found.hash if found else None
        return UpdateResult(self._sealed(cas, news, wanted, predecessor=predecessor, me=me, olds=olds))

    @clean
    def read(self, id_: str, props: Props) -> ReadResult:
        """The document as it was made: whether somebody uploaded it is for CAS to say, when the next one is made."""
        kept = {**props, "policy": with_secrets(props["policy"]), "document": _hidden(props["document"], props["mode"])}
        return ReadResult(id_, kept, None)

    @clean
    def delete(self, _id: str, props: Props) -> None:
        """Remove the file, if it still is this resource's. What was uploaded is its uploader's."""
        _remove_file(props)
        warn(f"{props['name']} stays at {_url(props)}, if somebody uploaded it: retire it there.")

    def _sealed(
        self,
        cas: CasClient,
        props: Props,
        wanted: Session,
        *,
        predecessor: str | None,
        me: Owner,
        olds: Props | None = None,
    ) -> Props:
        text = wanted.wire(predecessor=predecessor, fspf_keys=self._comparison.fspf_keys(wanted))
        document = self._document(text, str(props["mode"]), cas, props)
        return self._outs(props, document, predecessor or "", cas, me=me, olds=olds)

    @staticmethod
    def _outs(
        props: Props, document: object, predecessor: object, cas: CasClient, *, me: Owner | None, olds: Props | None
    ) -> Props:
        """The outputs, after the file was written where it belongs."""
        mode, found = str(props["mode"]), cast("Mapping[str, object]", document)
        if olds is not None and olds.get("file") != props.get("file"):
            _remove_file(olds)
        if props.get("file"):
            write_policy(Path(str(props["file"])), _written(found, mode, me))
        outs = props | {"policy": with_secrets(props["policy"]), "document": _hidden(found, mode)}
        owner = {"owner": str(me)} if me else {}
        return outs | {"predecessor": predecessor, "attested_key": cas.key_hash} | owner

    def _document(self, text: str, mode: str, cas: CasClient, props: Props) -> dict[str, object]:
        if mode == NO_UPLOAD:
            return {"policy": text}
        if mode == SIGNED:
            signed = sign_session(text, keys=[self.settings.session_signer()])
            signatures = cast("list[dict[str, str]]", signed["signatures"])
            return {"policy": text, "signatures": {str(number): one for number, one in enumerate(signatures)}}
        recipient = cas.session_encryption_key(pinned=str(props["recipient"]) if props.get("recipient") else None)
        sealed = encrypt_session(text, recipient=recipient, seed=secrets.token_bytes(32))
        return {"policy": sealed["encrypted_session"], "encryption_key": sealed["encryption_key"]}


def _hidden(document: object, mode: object) -> dict[str, object]:
    """The document with what is readable in it wrapped: a description holds file-system keys and given values."""
    found = dict(cast("Mapping[str, object]", document))
    return found if mode in (ENCRYPTED, ENCRYPTED_ONLY) else {**found, "policy": wrap_rpc_secret(found["policy"])}


def _remove_file(props: Props) -> None:
    if not props.get("file"):
        return
    path = Path(str(props["file"]))
    document = cast("Mapping[str, object]", props["document"])
    text = _written(document, str(props["mode"]), Owner.of(props.get("owner")))
    if not remove_policy(path, text):
        warn(f"{path} was left as it is: it is not the file that this resource wrote.")


def _written(document: Mapping[str, object], mode: str, owner: Owner | None) -> str:
    """The file's text. It is another one for each owner: two documents of one text would be one file."""
    if mode == NO_UPLOAD:
        return (f"# {owner}\n" if owner else "") + str(document["policy"])
    if mode == SIGNED:
        found = cast("Mapping[str, Mapping[str, object]]", document["signatures"]).values()
        # As they were written first: state sorts keys.
        signatures = [{key: one[key] for key in ("signer", "signature")} for one in found]
        return json.dumps({"session": document["policy"], "signatures": signatures}, indent=1) + "\n"
    content = {"encrypted_session": document["policy"], "encryption_key": document["encryption_key"]}
    return json.dumps(content, indent=1) + "\n"


def _url(props: Props) -> str:
    cas = props["cas"]
    return str(cas.get("url")) if isinstance(cas, Mapping) else "CAS"


def _last(olds: Props) -> Session:
    """What this stack sealed last."""
    return scone_policy.parse(olds["policy"])  # type: ignore[arg-type]
