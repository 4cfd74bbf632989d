"""Sessions of the embedded CAS: creation, replacement, history, permission, namespaces, secrets, sharing."""

from collections.abc import Callable

import pytest
import yaml

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.secrets.encoding import public_form

People = Callable[[str], object]
VERSION = 'version: "0.3.12"\n'


def session(name: str, rest: str = "", *, predecessor: str | None = None) -> str:
    """A minimal description."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return f"name: {name}\n{VERSION}{before}{rest}"


def refused(status: int, part: str):
    """The refusal that is expected."""
    return pytest.raises(Refusal, match=part, check=lambda refusal: STATUS[refusal.reason] == status)


def test_creates_and_reads_back(cas, person) -> None:
    """A session that was created is read back as uploaded, with the creator filled in and its hash."""
    done = cas.upload(session("app", "secrets:\n  - {name: s, kind: ascii, value: plain}\n"), person("ann"))
    version = cas.sessions.read("app", person("ann").caller)
    found = yaml.safe_load(version.description)
    assert version.hash == done.hash
    assert done.number == 1
    assert found["secrets"] == [{"name": "s", "kind": "ascii", "value": "plain"}]
    assert found["creator"] == person("ann").caller.certificate


def test_hash_changes_with_any_change(cas, person) -> None:
    """Name, content, creator and predecessor all enter the hash."""
    hashes = [
        cas.upload(session("a"), person("ann")).hash,
        cas.upload(session("b"), person("ann")).hash,
        cas.upload(session("c"), person("ann")).hash,
    ]
    hashes.append(cas.upload(session("a", predecessor=hashes[0]), person("ann")).hash)
    hashes.append(
        cas.upload(
            session("a", "salt: '00112233445566778899aabbccddeeff'\n", predecessor=hashes[3]), person("ann")
        ).hash
    )
    assert len(set(hashes)) == len(hashes)


def test_same_description_of_two_creators_differs(cas, person) -> None:
    """Who created a session is part of its hash: the same text by another key is another session."""
    first = cas.upload(session("x"), person("ann"))
    again = cas.upload(session("x", predecessor=first.hash, rest="access_policy: {update: [ANY]}\n"), person("ann"))
    bob = cas.upload(session("x", predecessor=again.hash), person("bob"))
    assert cas.sessions.live("x").creator == person("bob").key_hash
    assert bob.number == 3


def test_no_creator_without_reference_to_it(cas, person) -> None:
    """Where the access policy does not depend on the creator, nothing is filled in."""
    cas.upload(session("x", "access_policy: {read: [ANY], update: [ANY]}\n"), person("ann"))
    assert "creator" not in yaml.safe_load(cas.sessions.read("x", person("bob").caller).description)


def test_name_that_is_taken_is_a_conflict(cas, person) -> None:
    """Creating what exists is refused: the hash must be given."""
    cas.upload(session("x"), person("ann"))
    with refused(409, "exists already"):
        cas.upload(session("x"), person("ann"))


@pytest.mark.parametrize("wrong", ["00" * 32, "first"])
def test_lost_update_is_refused(cas, person, wrong: str) -> None:
    """A predecessor that is not the newest version is refused with the spec's words, and nothing changes."""
    first = cas.upload(session("x"), person("ann"))
    second = cas.upload(session("x", predecessor=first.hash), person("ann"))
    given = first.hash if wrong == "first" else wrong
    with refused(409, f"Could not create successor session. Invalid previous session digest: {given}"):
        cas.upload(session("x", predecessor=given), person("ann"))
    assert cas.sessions.live("x").hash == second.hash


def test_predecessor_of_nothing_is_refused(cas, person) -> None:
    """A new name takes no predecessor."""
    with refused(409, "Invalid previous session digest"):
        cas.upload(session("x", predecessor="11" * 32), person("ann"))


def test_history_stays(cas, person) -> None:
    """Every version can be read by its hash, with the description of its time."""
    first = cas.upload(session("x", "secrets: [{name: a, kind: ascii, value: one}]\n"), person("ann"))
    cas.upload(session("x", predecessor=first.hash), person("ann"))
    old = cas.sessions.read("x", person("ann").caller, session_hash=first.hash)
    assert "one" in old.description
    assert old.predecessor is None


def test_old_version_of_another_name_is_not_found(cas, person) -> None:
    """A hash gives access only to the session it belongs to, whose permission was checked."""
    cas.upload(session("mine"), person("ann"))
    theirs = cas.upload(session("theirs"), person("bob"))
    with refused(404, "no version with this hash"):
        cas.sessions.read("mine", person("ann").caller, session_hash=theirs.hash)


def test_permission_of_the_newest_version_decides(cas, person) -> None:
    """Who lost the read permission cannot read old versions either; who got it can."""
    first = cas.upload(session("x", "access_policy: {read: [ANY]}\n"), person("ann"))
    cas.upload(session("x", predecessor=first.hash), person("ann"))
    with refused(403, "no permission to read"):
        cas.sessions.read("x", person("bob").caller, session_hash=first.hash)


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        ("[CREATOR]", {"ann"}),
        ("[ANY]", {"ann", "bob", "cy", "nobody"}),
        ("[NONE]", set()),
        ("[{bob}]", {"bob"}),
        ("[CREATOR, {bob}]", {"ann", "bob"}),
    ],
)
def test_access_entries(cas, person, entries: str, allowed: set[str]) -> None:
    """CREATOR, ANY, NONE and key hashes let in exactly whom they name, for reading and for updating."""
    entries = entries.format(bob=person("bob").key_hash)
    done = cas.upload(session("x", f"access_policy: {{read: {entries}, update: {entries}}}\n"), person("ann"))
    keep = f"access_policy: {{read: {entries}, update: {entries}}}\n"
    for name in ("ann", "bob", "cy", "nobody"):
        who = None if name == "nobody" else person(name)
        caller = who.caller if who else type(person("ann").caller)()
        if name in allowed:
            assert cas.sessions.read("x", caller).hash
        else:
            with refused(403, "no permission to read"):
                cas.sessions.read("x", caller)
            with refused(403, "no permission to update"):
                cas.upload(session("x", keep, predecessor=done.hash), who)


@pytest.mark.parametrize(
    ("rest", "status", "part"),
    [
        ("creator: me\n", 400, "never written by hand"),
        ("access_policy: {read: ['3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x2']}\n", 400, "checksum"),
        (
            "security: {attestation: {mode: maa, url: 'https://a', tolerate: [maa-managed-tcb]}}\n",
            501,
            "maa is not served",
        ),
        ("services: [{name: s, command: 'p @@1 @@1', attestation: {mrenclave: '" + "a" * 64 + "'}}]\n", 400, "twice"),
        (
            "services: [{name: s, command: 'p @@2 @@2', attestation: {mrenclave: '" + "a" * 64 + "'}}]\n",
            400,
            "@@2 stands there twice",
        ),
        ("services: [{name: s, command: p}]\n", 400, "attestation variant"),
        (
            "services: [{name: s, command: p, fspf_key: 'derived: x', fspf_tag: '"
            + "a" * 32
            + "', attestation: {mrenclave: '"
            + "a" * 64
            + "'}}]\n",
            400,
            "hex",
        ),
        ("nonsense: 1\n", 400, "nonsense"),
        ("predecessor: 12\n", 400, "predecessor"),
    ],
)
def test_what_breaks_a_rule_or_is_not_served(cas, person, rest: str, status: int, part: str) -> None:
    """Each refusal names the place and the rule, and stores nothing."""
    with refused(status, part):
        cas.upload(session("x", rest), person("ann"))
    assert cas.sessions.live("x") is None


def test_creator_needs_a_certificate(cas) -> None:
    """Nobody in particular cannot become a creator."""
    with refused(403, "no client certificate"):
        cas.upload(session("x"), None)


def test_missing_namespace_is_named(cas, person) -> None:
    """A session below a namespace needs it to exist; the error names which one is missing."""
    with refused(404, "'a/b' of 'a/b/c'"):
        cas.upload(session("a/b/c"), person("ann"))


def test_namespace_permission(cas, person) -> None:
    """Creating below a namespace needs its create_sessions, which follows update where it is not given."""
    cas.upload(session("open", f"access_policy: {{create_sessions: ['{person('bob').key_hash}']}}\n"), person("ann"))
    cas.upload(session("mine"), person("ann"))
    cas.upload(session("open/x"), person("bob"))
    cas.upload(session("mine/x"), person("ann"))
    with refused(403, "create sessions in the namespace 'open'"):
        cas.upload(session("open/y"), person("ann"))
    with refused(403, "create sessions in the namespace 'mine'"):
        cas.upload(session("mine/y"), person("bob"))


def test_update_below_a_closed_namespace_goes_on(cas, person) -> None:
    """create_sessions is asked for at creation only."""
    space = cas.upload(session("n"), person("ann"))
    first = cas.upload(session("n/x"), person("ann"))
    cas.upload(session("n", "access_policy: {create_sessions: [NONE]}\n", predecessor=space.hash), person("ann"))
    assert cas.upload(session("n/x", predecessor=first.hash), person("ann")).number == 2


def test_namespace_hash(cas, person) -> None:
    """The expected parent is checked at creation."""
    space = cas.upload(session("n"), person("ann"))
    with refused(409, "another hash"):
        cas.upload(session("n/x", f"namespace_hash: {'00' * 32}\n"), person("ann"))
    assert cas.upload(session("n/x", f"namespace_hash: {space.hash}\n"), person("ann")).number == 1


def generated(cas, name: str, which: str = "s") -> bytes:
    """The value that a session holds."""
    live = cas.sessions.live(name)
    return cas.sessions.view().value(live, which).content


@pytest.mark.parametrize(("kind", "size"), [("ascii", 1), ("ascii", 33), ("binary", 1), ("binary", 64)])
def test_generated_values_have_their_size(cas, person, kind: str, size: int) -> None:
    """Exactly the size asked for; ascii is printable and without white space."""
    cas.upload(session("x", f"secrets: [{{name: s, kind: {kind}, size: {size}}}]\n"), person("ann"))
    content = generated(cas, "x")
    assert len(content) == size
    assert kind == "binary" or (content.decode().isprintable() and not set(content) & set(b" \n"))


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ("kind: ascii, size: 20", "kept"),
        ("kind: ascii", "kept"),
        ("kind: ascii, size: 21", "new"),
        ("kind: binary, size: 20", "new"),
    ],
)
def test_generated_values_are_kept_while_the_definition_is_the_same(cas, person, after: str, kept: str) -> None:
    """Same name, kind and size: same value; otherwise a new one."""
    first = cas.upload(session("x", "secrets: [{name: s, kind: ascii, size: 20}]\n"), person("ann"))
    before = generated(cas, "x")
    cas.upload(session("x", f"secrets: [{{name: s, {after}}}]\n", predecessor=first.hash), person("ann"))
    assert (generated(cas, "x") == before) == (kept == "kept")


def test_retired_session_forgets_its_values(cas, person) -> None:
    """Once removed, a value does not come back with the same definition."""
    text = "secrets: [{name: s, kind: ascii, size: 20}]\n"
    first = cas.upload(session("x", text), person("ann"))
    before = generated(cas, "x")
    second = cas.upload(
        session("x", "access_policy: {create_sessions: [NONE]}\n", predecessor=first.hash), person("ann")
    )
    cas.upload(session("x", text, predecessor=second.hash), person("ann"))
    assert generated(cas, "x") != before


def test_explicit_value_replaced_by_generated(cas, person) -> None:
    """A given value is not kept as if it had been generated."""
    first = cas.upload(session("x", "secrets: [{name: s, kind: ascii, value: 'known'}]\n"), person("ann"))
    cas.upload(session("x", "secrets: [{name: s, kind: ascii, size: 5}]\n", predecessor=first.hash), person("ann"))
    assert generated(cas, "x") != b"known"


def test_reading_never_shows_generated_values(cas, person) -> None:
    """Not even the creator sees what was generated."""
    cas.upload(session("x", "secrets: [{name: s, kind: ascii, size: 40}]\n"), person("ann"))
    assert generated(cas, "x").decode() not in cas.sessions.read("x", person("ann").caller).description


EXPORTER = "secrets: [{{name: s, kind: ascii, size: 30, export: {export}}}]\n"
IMPORTER = "secrets: [{name: s, kind: ascii, import: {session: out, secret: s}}]\n"


@pytest.mark.parametrize("export", ["{session: n/in}", "{namespace: n}", "[{session: other}, {session: n/in}]"])
def test_import_gives_the_exported_value(cas, person, export: str) -> None:
    """A session, or a namespace with all that is nested in it, receives what is exported to it."""
    cas.upload(session("n"), person("ann"))
    cas.upload(session("out", EXPORTER.format(export=export)), person("ann"))
    cas.upload(session("n/in", IMPORTER), person("ann"))
    assert generated(cas, "n/in") == generated(cas, "out")


@pytest.mark.parametrize(
    "export",
    ["{session: else}", "{namespace: else}", "{namespace: i}", "{session: in, session_hash: '" + "1" * 64 + "'}"],
)
def test_import_that_is_not_exported_is_refused(cas, person, export: str) -> None:
    """What is exported to others, to a name that only begins alike, or to another hash, cannot be imported."""
    cas.upload(session("out", EXPORTER.format(export=export)), person("ann"))
    with refused(400, "does not export"):
        cas.upload(session("in", IMPORTER), person("ann"))


def test_import_of_nothing_is_refused(cas, person) -> None:
    """The exporter must exist, and must not be the importer itself."""
    with refused(400, "does not exist"):
        cas.upload(session("in", IMPORTER), person("ann"))
    with refused(400, "circle"):
        cas.upload(session("out", IMPORTER), person("ann"))


def test_withdrawn_export_ends_the_import(cas, person) -> None:
    """An import follows the owner's newest version: what is withdrawn is not delivered any more."""
    owner = cas.upload(session("out", EXPORTER.format(export="{session: in}")), person("ann"))
    cas.upload(session("in", IMPORTER), person("ann"))
    cas.upload(session("out", EXPORTER.format(export="{session: else}"), predecessor=owner.hash), person("ann"))
    with refused(400, "does not export"):
        generated(cas, "in")


def test_circle_of_imports_is_refused_at_delivery(cas, person) -> None:
    """Two sessions that import from each other give nobody a value, and nothing runs for ever."""
    plain = "secrets: [{name: s, kind: ascii, export: {session: %s}}]\n"
    crossed = "secrets: [{name: s, kind: ascii, export: {session: %s}, import: {session: %s, secret: s}}]\n"
    a = cas.upload(session("a", plain % "b"), person("ann"))
    cas.upload(session("b", crossed % ("a", "a")), person("ann"))
    cas.upload(session("a", crossed % ("b", "b"), predecessor=a.hash), person("ann"))
    with refused(400, "circle"):
        generated(cas, "a")


def test_public_values(cas, person) -> None:
    """Only secrets with export_public are shown, in their value format."""
    text = """secrets:
- {name: a, kind: ascii, size: 9, export_public: true}
- {name: b, kind: binary, value: 'FF00', export_public: true}
- {name: c, kind: ascii}
"""
    cas.upload(session("x", text), person("ann"))
    values = cas.sessions.public_values("x")
    assert sorted(values) == ["a", "b"]
    assert public_form(values["b"]) == "ff00"
    assert public_form(values["a"]).encode() == generated(cas, "x", "a")


def test_decisions_within_a_transaction_ask_no_other_cas(cas, person, monkeypatch) -> None:
    """Nobody waits for the network while the store is locked; outside of a transaction other CASes are asked."""
    cas.upload(session("app"), person("ann"))
    resolvers, asked = cas.sessions._resolvers, []
    asking = resolvers.asking

    def noted(*, asks: bool):
        asked.append(asks)
        return asking(asks=asks)

    monkeypatch.setattr(resolvers, "asking", noted)
    live = cas.sessions.live("app")
    resolvers.access(live, person("ann").caller)
    with cas.store.writing():
        resolvers.access(live, person("ann").caller)
    assert asked == [True, False]
