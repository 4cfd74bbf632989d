"""What documents of the field say and this CAS does: enforced as written, or refused by name."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from cryptography import x509

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.federation.settings import PeerSettings
from support.secret_session import SERVICE, received, secret_session
from support.software_enclave import MEASUREMENT
from unit.scone_cas.conftest import Cas
from unit.scone_cas.federation.test_peers import ASK, asked
from unit.scone_cas.secrets.test_imports import put, refused
from unit.scone_cas.secrets.test_issuance import chain_of

UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"
GONE = "$$SCONE::gone$$"


def described(predecessor: str | None = None, **sections: Any) -> str:
    """A session called app with these sections, as JSON."""
    found: dict[str, Any] = {"name": "app", "version": "0.3", **sections}
    return json.dumps(found | ({"predecessor": predecessor} if predecessor else {}))


def serving(**keys: Any) -> dict[str, Any]:
    """Sections with one service."""
    entry = {"name": SERVICE, "attestation": {"mrenclave": MEASUREMENT}, **keys}
    return {"services": [entry], "security": {"attestation": {"tolerate": ["debug-mode"]}}}


def test_host_arguments_may_skip_numbers(cas, person) -> None:
    """Each position takes the host's argument of that number; those between are not used; one too few is fatal."""
    cas.upload(described(**serving(command="run @@3 x @@1")), person("ann"))
    status, found = cas.attest(f"app/{SERVICE}", host_arguments=["a", "b", "c"])
    assert (status, found["arguments"]) == (200, ["run", "c", "x", "a"])
    status, error = cas.attest(f"app/{SERVICE}", host_arguments=["a", "b"])
    assert (status, error["code"]) == (403, "missing_host_value")
    assert "@@3" in error["message"]


def test_host_variables_by_name(cas, person) -> None:
    """`@@NAME` as a variable's name gives NAME the host's value, in either spelling, whatever stands as its value."""
    environment = {"@@NODE": None, r"\@\@ZONE": None, "@@GONE": "ignored", "HERE": "@@NODE", "MINE": "own"}
    cas.upload(described(**serving(command="run", environment=environment)), person("ann"))
    _, found = cas.attest(f"app/{SERVICE}", host_environment={"NODE": "n1", "ZONE": "z", "MINE": "stolen"})
    assert found["environment"] == {"NODE": "n1", "ZONE": "z", "GONE": "", "HERE": "n1", "MINE": "own"}


@pytest.mark.parametrize("depth", [1, 2])
def test_issuer_beside_a_given_certificate_stands_above_it(cas, person, depth: int) -> None:
    """A given certificate's chain is its issuer's, also where nobody here has the issuer's key."""
    forms = ["leaf", "leaf:chain", "leaf:privatekey", "key"]
    cas.upload(secret_session(chain_of(*["P-256"] * depth), forms, name="maker"), person("ann"))
    made = received(cas, "maker")
    given: Mapping[str, Any] = {
        "above": {"kind": "x509-ca", "value": made["leaf:chain"].decode()},
        "key": {"kind": "private-key", "value": made["key"].decode()},
        "leaf": {"kind": "x509", "value": made["leaf"].decode(), "issuer": "above", "private_key": "key"},
    }
    cas.upload(secret_session(given, [*forms, "leaf.chain"]), person("ann"))
    found = received(cas)
    assert {form: found[form] for form in forms} == {form: made[form] for form in forms}
    old = x509.load_pem_x509_certificates(found["leaf.chain"])
    assert old == [*reversed(x509.load_pem_x509_certificates(made["leaf:chain"])), *load(made["leaf"])]


def load(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM text."""
    return x509.load_pem_x509_certificates(pem)


def test_the_old_chain_of_a_self_signed_leaf_is_itself(cas, person) -> None:
    """Never an empty file: the certificate itself is in it, and the new spelling stays without it."""
    secrets = {"key": {"kind": "private-key"}, "c": {"kind": "x509", "private_key": "key"}}
    cas.upload(secret_session(secrets, ["c", "c.chain", "c:chain"]), person("ann"))
    found = received(cas)
    assert (found["c.chain"], found["c:chain"]) == (found["c"], b"")


def test_an_entry_that_names_no_secret_counts_for_nobody(cas, person) -> None:
    """Alone it lets nobody in; beside others it changes nothing; in a rule that needs all it is never satisfied."""
    ann, bob = person("ann"), person("bob")
    policy = {"read": [GONE, ann.key_hash], "update": [{"require-all": [ann.key_hash, GONE]}]}
    first = cas.upload(described(access_policy=policy), ann)
    assert cas.sessions.read("app", ann.caller).hash == first.hash
    with refused(403, "no permission to read"):
        cas.sessions.read("app", bob.caller)
    with refused(403, "update"):
        cas.upload(described(predecessor=first.hash), ann)
    open_ = {"update": [{"require-at-least-1": [GONE, ann.key_hash]}]}
    other = cas.upload(described(access_policy=open_).replace('"app"', '"other"'), ann)
    cas.upload(described(predecessor=other.hash).replace('"app"', '"other"'), ann)


def test_what_was_read_is_uploaded_again(cas, person) -> None:
    """What this CAS shows, creator included, is taken as the next version: the same but for what it replaces."""
    ann, bob = person("ann"), person("bob")
    first = cas.upload(described(secrets=[{"name": "s", "kind": "ascii"}], **serving(command="run")), ann)
    shown = yaml.safe_load(cas.sessions.read("app", ann.caller).description)
    assert shown["creator"] == ann.caller.certificate
    with refused(409, "predecessor"):
        cas.upload(yaml.safe_dump(shown), ann)
    second = cas.upload(yaml.safe_dump({**shown, "predecessor": first.hash}), ann)
    again = yaml.safe_load(cas.sessions.read("app", ann.caller).description)
    assert again == {**shown, "predecessor": first.hash}
    stolen = {**shown, "predecessor": second.hash, "creator": bob.caller.certificate}
    cas.upload(yaml.safe_dump(stolen), ann)
    assert yaml.safe_load(cas.sessions.read("app", ann.caller).description)["creator"] == ann.caller.certificate


def test_an_empty_tenant_gives_no_token(cas, person) -> None:
    """Taken at upload; who asks for the token is told why there is none."""
    token = {"kind": "aad-token", "tenant_id": "", "client_id": UUID, "application_secret": "x"}
    cas.upload(secret_session({"t": token}, ["t"]), person("ann"))
    status, error = cas.attest(f"app/{SERVICE}")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "tenant_id is empty" in error["message"]


@pytest.fixture
def exporting(cas, person) -> Cas:
    """A CAS that trusts carol's for the namespace `in`, and exports one secret to sessions of bob's CAS by its key."""
    cas.sessions._peers = cas.parts.client_api._sessions._peers
    cas.sessions._peers.settings = PeerSettings(trusted=((person("carol").key_hash, "in"),))
    key = person("bob").key_hash
    exports = [
        f"{{session: in/x, cas_key: {key}, cas_url: 'bob.example'}}",
        f"{{namespace: team, cas_key: {key}}}",
        f"{{session: in/h, session_hash: {'ab' * 32}, cas_key: {key}}}",
        "{session: in/y}",
    ]
    put(cas, "out", f"name: s, kind: ascii, export: [{', '.join(exports)}]", "name: t, kind: ascii")
    return cas


@pytest.mark.parametrize(
    ("who", "change", "status"),
    [
        ("bob", {}, 200),
        ("bob", {"importer": "team/a/b"}, 200),
        ("bob", {"importer": "in/h"}, 200),
        ("bob", {"importer": "in/h", "importer_hash": "cd" * 32}, 403),
        ("bob", {"importer": "in/y"}, 403),
        ("bob", {"importer": "teamwork"}, 403),
        ("bob", {"secret": "t"}, 403),
        ("bob", {"session": "nowhere"}, 403),
        ("carol", {}, 404),
        ("carol", {"importer": "in/y"}, 200),
        ("carol", {"importer": "team/a"}, 403),
        ("ann", {}, 403),
        (None, {}, 403),
    ],
)
def test_exports_by_key_reach_that_cas_alone(
    exporting, person, who: str | None, change: Mapping[str, object], status: int
) -> None:
    """The named session at the CAS that proves the key, with nobody's word; no other CAS, and no other session."""
    found, answer = asked(exporting, {**ASK, **change}, person(who) if who else None)
    assert found == status
    if status == 403:
        assert "does not trust" in json.dumps(answer)


def test_exports_by_key_are_for_elsewhere(exporting) -> None:
    """A session of that name on this CAS receives nothing: it is another one."""
    put(exporting, "in", "name: z, kind: ascii")
    with refused(400, "does not export"):
        put(exporting, "in/x", "name: s, kind: ascii, import: {session: out, secret: s}")
    put(exporting, "in/y", "name: s, kind: ascii, import: {session: out, secret: s}")


@pytest.mark.parametrize(
    ("export", "part"),
    [
        ({"session": "a", "cas_url": "h", "cas_software_key": "ab" * 32}, "export.cas_software_key"),
        ({"session": "a", "cas_key": "$$SCONE::k$$"}, "export.cas_key"),
        ({"session": "a", "cas_url": "$$SCONE::k$$", "cas_key": "ab" * 32}, "export.cas_url"),
    ],
)
def test_exports_that_are_not_served(cas, person, export: Mapping[str, Any], part: str) -> None:
    """What could not be enforced is refused by name."""
    secrets = [{"name": "k", "kind": "ascii"}, {"name": "s", "kind": "ascii", "export": export}]
    with pytest.raises(Refusal, match=part) as caught:
        cas.upload(described(secrets=secrets), person("ann"))
    assert STATUS[caught.value.reason] == 501
