"""What documents of the field say: taken, taken with a warning, or refused with the next step."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from scone_cas.keys.certificates import Issuer, issue
from scone_cas.keys.signing_keys import generate
from scone_policy import PolicyError, parse
from scone_policy.diff.change import Trust
from scone_policy.diff.compare import compare
from scone_policy.model.secrets import Secret
from scone_policy.rules.check import check
from scone_policy.rules.warnings import cautions
from scone_policy.syntax.yaml_source import load, show
from support.policy_strategies import KEY_HASH
from unit.scone_cas.conftest import NOW

HEX = "ab" * 32
TAG = "cd" * 16


def document(**sections: Any) -> dict[str, Any]:
    """A session in wire shape with these sections."""
    return {"name": "team/app", "version": "0.3", **sections}


def service(**keys: Any) -> dict[str, Any]:
    """A session with one service, called s."""
    return document(services=[{"name": "s", "attestation": {"mrenclave": HEX}, **keys}])


def secrets(*entries: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """A session with these secrets."""
    return document(secrets=list(entries), **sections)


def chain() -> tuple[str, str]:
    """A CA's certificate and one that it issued, in PEM."""
    key, own = generate("P-256"), generate("P-256")
    authority = Secret.model_validate({"kind": "x509-ca", "private_key": "k"})
    root = issue("ca", authority, subject_key=key.public_key(), signer=key, issuer=None, now=NOW)
    leaf = Secret.model_validate({"kind": "x509", "private_key": "k"})
    above = Issuer(certificate=root, chain=b"")
    found = issue("leaf", leaf, subject_key=own.public_key(), signer=key, issuer=above, now=NOW)
    return above.whole_chain.decode(), Issuer(certificate=found, chain=b"").whole_chain.decode()


CA, LEAF = chain()
IMPORT = {"session": "o", "secret": "x"}
ELSEWHERE = {"cas_url": "cas.example:8081", "cas_key": KEY_HASH, "session": "team/other"}
AAD = {"name": "a", "kind": "aad-token", "client_id": "e6c9c526-f1aa-4e0d-b207-50bad9a89d21", "application_secret": "x"}
MOUNT = {"name": "v", "path": "/v", "persistency": "None"}

TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "host arguments skip numbers": (service(command="x @@3 @@1"), service(command=["x", "@@3", "@@1"])),
    "a host variable without a value": (service(environment={"@@HOST": None}), service(environment={"@@HOST": ""})),
    "a host variable as the reference prints it": (
        service(environment={r"\@\@HOST": None}),
        service(environment={r"\@\@HOST": ""}),
    ),
    "hex with a line break": (
        secrets({"name": "b", "kind": "binary", "value": "feed00\n"}),
        secrets({"name": "b", "kind": "binary", "value": "feed00"}),
    ),
    "hex in lines": (
        secrets({"name": "b", "kind": "binary", "value": " feed\n 00\n", "size": 3}),
        secrets({"name": "b", "kind": "binary", "value": "feed00"}),
    ),
    "keys, tags and hashes with line breaks": (
        {**service(fspf_key=f"{HEX}\n", fspf_tag=f" {TAG}", mrenclaves=[f"{HEX}\n"], attestation=None), "salt": TAG},
        {**service(fspf_key=HEX, fspf_tag=TAG), "salt": f"{TAG}\n"},
    ),
    "a predecessor with a line break": (document(predecessor=f"{HEX}\n"), document()),
    "persistency of a service": (service(persistency="None"), service()),
    "persistency of volumes and mounts": (
        document(
            volumes=[{"name": "v", "persistency": None}],
            images=[{"name": "i", "volumes": [MOUNT], "persistency": "None"}],
        ),
        document(volumes=[{"name": "v"}], images=[{"name": "i", "volumes": [{"name": "v", "path": "/v"}]}]),
    ),
    "a volume's import in one line": (
        document(volumes=[{"name": "v", "import": "/session=b,volume=w"}]),
        document(volumes=[{"name": "v", "import": {"session": "b", "volume": "w"}}]),
    ),
    "a secret's import in one line": (
        secrets({"name": "v", "kind": "ascii", "import": "/session=b,secret=w"}),
        secrets({"name": "v", "kind": "ascii", "import": {"session": "b", "secret": "w"}}),
    ),
    "one export without its list": (
        secrets({"name": "v", "kind": "ascii", "export": ELSEWHERE}),
        secrets({"name": "v", "kind": "ascii", "export": [ELSEWHERE]}),
    ),
    "an export to another CAS in one line": (
        secrets({"name": "v", "kind": "ascii", "export": f"h:1/cas_key={KEY_HASH},session=b"}),
        secrets({"name": "v", "kind": "ascii", "export": {"cas_url": "h:1", "cas_key": KEY_HASH, "session": "b"}}),
    ),
}


@pytest.mark.parametrize(("written", "meant"), TAKEN.values(), ids=TAKEN)
def test_what_is_taken_means_the_same(written: dict[str, Any], meant: dict[str, Any]) -> None:
    """Spellings of the field have one meaning, whose canonical form and wire form come back; nothing is warned of."""
    found = parse(written)
    assert found.canonical() == parse(meant).canonical()
    assert parse(found.wire()).canonical() == found.canonical()
    assert parse(found.canonical()).canonical() == found.canonical()
    assert cautions(found) == []


@pytest.mark.parametrize("written", ["~", "", "null", "Null", '""', "''", " ", None])
def test_no_predecessor_in_any_spelling(written: str | None) -> None:
    """What scripts put into a variable for the first version means none; a damaged hash is still refused."""
    assert parse(document(predecessor=written)).predecessor is None
    with pytest.raises(PolicyError, match="32 bytes"):
        parse(document(predecessor="ab"))


KEY = {"name": "k", "kind": "private-key"}
SHARED = {**KEY, "import": IMPORT, "key_type": "P-384"}
WARNED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "size beside import": (
        secrets({"name": "a", "kind": "ascii", "size": 20, "import": IMPORT}),
        ["secrets.a.size"],
        "means nothing beside an import",
    ),
    "size beside import without kind": (
        secrets({"name": "a", "size": 20, "import": IMPORT}),
        ["secrets.a.size"],
        "means nothing beside an import",
    ),
    "how it would be made beside import": (secrets(SHARED), ["secrets.k.key_type"], "beside an import"),
    "names beside a given certificate": (
        secrets({"name": "c", "kind": "x509", "value": LEAF, "common_name": "x", "dns": ["a.example"]}),
        ["secrets.c.common_name", "secrets.c.dns"],
        "beside a given value",
    ),
    "an entry that names no secret": (
        secrets(access_policy={"read": ["CREATOR", "$$SCONE::gone$$"]}),
        ["access_policy.read"],
        "names no secret of this session: the entry counts for nobody",
    ),
    "entries of rules that name no secret": (
        secrets(
            access_policy={"update": ["CREATOR", {"require-all": ["CREATOR", "$$SCONE::gone$$"]}]},
        ),
        ["access_policy.update"],
        "counts for nobody",
    ),
    "an empty tenant": (secrets({**AAD, "tenant_id": ""}), ["secrets.a.tenant_id"], "can fetch no token"),
    "a printed creator": (document(creator=CA), ["creator"], "is ignored"),
}


@pytest.mark.parametrize(("written", "paths", "words"), WARNED.values(), ids=WARNED)
def test_what_is_warned_of(written: dict[str, Any], paths: list[str], words: str) -> None:
    """Taken, with a warning at the very key and with what to do; its forms come back."""
    found = parse(written)
    said = cautions(found)
    assert [show(problem.path) for problem in said] == paths
    assert all(words in problem.rule and problem.fix for problem in said)
    assert parse(found.wire()).canonical() == parse(found.canonical()).canonical() == found.canonical()


def test_issuer_beside_a_given_certificate() -> None:
    """A given certificate may say who stands above it; that one needs no key, for it signs nothing."""
    above = {"name": "above", "kind": "x509-ca", "value": CA}
    leaf = {"name": "svid", "kind": "x509", "value": LEAF, "issuer": "above", "private_key": "k"}
    found = parse(secrets(KEY, above, leaf))
    assert cautions(found) == []
    assert found.canonical()["secrets"]["svid"]["issuer"] == "above"  # type: ignore[index]
    made = {"name": "made", "kind": "x509", "private_key": "k", "issuer": "above"}
    with pytest.raises(PolicyError, match="nothing could be signed with it"):
        parse(secrets(KEY, above, made))
    with pytest.raises(PolicyError, match="not one of a CA"):
        parse(secrets(KEY, {**above, "value": LEAF}, leaf))


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a host argument twice": (service(command="x @@2 @@2"), "services.s.command", "stands there twice"),
    "a variable twice": (
        service(environment={"@@HOST": None, r"\@\@HOST": None}),
        "services.s.environment.@@HOST",
        "stands there twice",
    ),
    "a variable here and of the host": (
        service(environment={"@@HOST": None, "HOST": "x"}),
        "services.s.environment.@@HOST",
        "stands there twice",
    ),
    "another variable without a value": (service(environment={"A": None}), "services.s.environment.A", "have a value"),
    "another persistency": (service(persistency="Always"), "services.s.persistency", "None is all that is known"),
    "a volume of another CAS": (
        document(volumes=[{"name": "v", "import": {"cas_key": HEX, "session": "b", "volume": "w"}}]),
        "volumes.v.import.cas_key",
        "same CAS only",
    ),
    "a volume's import by a name": (
        document(volumes=[{"name": "v", "import": "b"}]),
        "volumes.v.import",
        "must name a session and its volume",
    ),
    "an address without a key": (
        secrets({"name": "a", "kind": "ascii", "export": {"cas_url": "h", "session": "b"}}),
        "secrets.a.export[0].cas_url",
        "needs cas_key",
    ),
    "two keys of one CAS": (
        secrets({"name": "a", "kind": "ascii", "export": {"cas_key": HEX, "cas_software_key": HEX, "session": "b"}}),
        "secrets.a.export[0].cas_software_key",
        "exclude each other",
    ),
    "a whole access policy that is no secret": (document(access_policy="$$SCONE::x$$"), "access_policy", "no secret"),
    "another kind's key beside import": (
        secrets({"name": "a", "kind": "ascii", "dns": ["a"], "import": IMPORT}),
        "secrets.a.dns",
        "does not belong to a secret of kind ascii",
    ),
    "a creator by hand": (document(creator="me"), "creator", "never written by hand"),
}


@pytest.mark.parametrize(("written", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_what_stays_refused(written: dict[str, Any], path: str, words: str) -> None:
    """What could only be a mistake is refused at its key, with the next step."""
    from scone_policy.rules.check import written_problems

    session, problems = check(load(yaml.safe_dump(written)))
    problems += written_problems(session) if session is not None else []
    places = {(show(problem.path), words in problem.rule, problem.fix != "") for problem in problems}
    assert len(places) == 1
    ((where, said, fixed),) = places
    assert where.replace("export.", "export[0].") in (path, path.replace("[0]", ""))
    assert said
    assert fixed


def test_exports_to_another_cas_are_told_as_such() -> None:
    """A preview says that a session of another CAS receives the secret, or no longer does; here nothing changes."""
    here = {"session": "team/other"}

    def verdicts(before: Any, after: Any) -> list[tuple[Trust, str]]:
        sides = [parse(secrets({"name": "a", "kind": "ascii", "export": side})).canonical() for side in (before, after)]
        return [(one.trust, one.meaning) for one in compare(sides[0], sides[1])]

    assert verdicts([here], [here, ELSEWHERE]) == [
        (Trust.WIDENS, "team/other of another CAS receives the secret"),
    ]
    assert verdicts([here, ELSEWHERE], [here]) == [(Trust.NARROWS, "team/other of another CAS no longer receives it")]
    other = {**ELSEWHERE, "cas_key": HEX}
    assert [trust for trust, _ in verdicts([ELSEWHERE], [other])] == [Trust.CHANGES]
    assert [trust for trust, _ in verdicts([], [ELSEWHERE])] == [Trust.WIDENS]


SPIRE = f"""
name: spire-svid-web
version: "0.3"
predecessor: ~
secrets:
  - name: svid
    kind: x509
    value: |
{LEAF.replace("-----BEGIN", "        -----BEGIN").replace(chr(10), chr(10) + "        ")}
    issuer: svid-intermediates
    export:
        session: web
        session_hash: {HEX}
    private_key: svid_key
  - name: svid-intermediates
    kind: x509-ca
    value: |
{CA.replace("-----BEGIN", "        -----BEGIN").replace(chr(10), chr(10) + "        ")}
    export:
        session: web
        session_hash: {HEX}
  - name: svid_key
    kind: private-key
    export:
        session: web
        session_hash: {HEX}
"""


def test_documents_of_an_identity_plug_in() -> None:
    """The session in which a SPIRE agent leaves an identity: certificate, what stands above it, key."""
    found = parse(SPIRE)
    assert found.secrets["svid"].issuer == "svid-intermediates"
    assert cautions(found) == []


ERRORS = """\
name: a b
version: "0.3"
zonk: 1
services:
 - name: s
   image_name: gone
   mrenclaves: [zz]
   command: run $$SCONE::gone$$
 - name: t
   attestation: {mrenclave: MEASUREMENT}
   environment: {A: $$SCONE::k:hex$$, B: $$SCONE::broken:hex$$}
 - command: y
secrets:
 - {name: k, kind: ascii}
 - {name: broken, kind: asci}
 - {name: c, kind: x509, private_key: gone}
volumes: [{name: v, files: plain}]
images: [{name: i, volumes: [{name: v, path: /v}, {name: w, path: /w}]}]
access_policy: {read: [nobody]}
security: {attestation: {mode: soft}}
"""


def test_all_errors_are_told_at_once() -> None:
    """Shape and references together, each once, and nothing that only follows from another error."""
    _, problems = check(load(ERRORS.replace("MEASUREMENT", HEX), file="f.yaml"))
    assert sorted({show(problem.path) for problem in problems}) == [
        "access_policy.read[0]",
        "images.i.volumes./w",
        "name",
        "secrets.broken.kind",
        "secrets.c.private_key",
        "security.attestation.mode",
        "services.s.command",
        "services.s.image_name",
        "services.s.mrenclaves[0]",
        "services.t.environment.A",
        "services[2]",
        "volumes.v.files",
        "zonk",
    ]
    assert all(problem.fix for problem in problems)
