"""Who receives which secret within one CAS: exports, imports, chains, hashes, public values."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.federation.protocol import Ask
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.secrets.generation import generate
from scone_cas.secrets.public_form import public_part
from scone_cas.secrets.value import Value, to_stored
from scone_cas.sessions.descriptions import read_upload
from scone_cas.storage.database import Version
from unit.scone_cas.conftest import Cas

ANYBODY = "access_policy: {read: [ANY], update: [ANY], create_sessions: [ANY]}\n"


def session(name: str, *entries: str, predecessor: str | None = None) -> str:
    """A session that anybody may update, with these entries of `secrets`."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    secrets = "secrets:\n" + "".join(f"- {{{entry}}}\n" for entry in entries) if entries else ""
    return f"name: {name}\nversion: '0.3.12'\n{before}{ANYBODY}{secrets}"


def put(cas: Cas, name: str, *entries: str) -> str:
    """Create or replace a session; its new hash."""
    live = cas.sessions.live(name)
    return cas.upload(session(name, *entries, predecessor=live.hash if live else None), None).hash


def received(cas: Cas, name: str, which: str = "s") -> Value:
    """What a service of the session would get."""
    live = cas.sessions.live(name)
    assert live is not None
    return cas.sessions.view().value(live, which)


def refused(status: int, part: str):
    """The refusal that is expected."""
    return pytest.raises(Refusal, match=part, check=lambda refusal: STATUS[refusal.reason] == status)


@pytest.mark.parametrize(
    ("export", "reaches"),
    [
        ("{namespace: n}", {"n", "n/a", "n/a/b"}),
        ("{namespace: n/a}", {"n/a", "n/a/b"}),
        ("{namespace: /}", {"n", "n/a", "n/a/b", "na"}),
        ("{session: n}", {"n"}),
        ("[{session: na}, {namespace: n/a}]", {"na", "n/a", "n/a/b"}),
        ("{session: ../n}", {"n"}),
        ("/session=n/a", {"n/a"}),
        ("[]", set()),
    ],
)
def test_exports_reach_exactly(cas, export: str, reaches: set[str]) -> None:
    """A session by name; a namespace with all that is nested in it, however deep, and nothing that begins alike."""
    put(cas, "out", f"name: s, kind: ascii, export: {export}")
    for name in ("n", "n/a", "n/a/b", "na"):
        put(cas, name)
        if name in reaches:
            put(cas, name, "name: s, kind: ascii, import: {session: out, secret: s}")
            assert received(cas, name) == received(cas, "out")
        else:
            with refused(400, "does not exist, or does not export"):
                put(cas, name, "name: s, kind: ascii, import: {session: out, secret: s}")


def test_namespace_by_hash(cas) -> None:
    """With a hash the namespace is the one version that was looked at: who changes it takes the secret away."""
    space = put(cas, "n")
    put(cas, "n/x")
    put(cas, "out", f"name: s, kind: ascii, export: {{namespace: n, session_hash: {space}}}")
    put(cas, "n/x", "name: s, kind: ascii, import: {session: out, secret: s}")
    assert received(cas, "n/x") == received(cas, "out")
    put(cas, "n", "name: other, kind: ascii")
    with refused(400, "does not export"):
        received(cas, "n/x")


def test_session_by_hash(cas) -> None:
    """An export to a hash ends with that version; the refusal tells the importer its new hash, which can be named."""
    put(cas, "in")
    put(cas, "out", "name: s, kind: ascii, export: {session: in}")
    mine = put(cas, "in", "name: s, kind: ascii, import: {session: out, secret: s}")
    put(cas, "out", f"name: s, kind: ascii, export: {{session: in, session_hash: {mine}}}")
    assert received(cas, "in") == received(cas, "out")
    more = ("name: s, kind: ascii, import: {session: out, secret: s}", "name: t, kind: ascii")
    with refused(400, "exports to another session_hash than") as refusal:
        put(cas, "in", *more)
    coming = refusal.value.message.rpartition(" ")[2]
    put(cas, "out", f"name: s, kind: ascii, export: {{session: in, session_hash: {coming}}}")
    assert put(cas, "in", *more) == coming
    assert received(cas, "in") == received(cas, "out")


@pytest.mark.parametrize(
    "spelling", ["session: out, session_hash: {hash}", "session: '/session=out,session_hash={hash}'"]
)
def test_import_by_hash(cas, spelling: str) -> None:
    """An import by hash takes that version of its exporter alone."""
    now = put(cas, "out", "name: s, kind: ascii, export: {session: in}")
    put(cas, "in", f"name: s, import: {{{spelling.format(hash=now)}, secret: s}}")
    assert received(cas, "in") == received(cas, "out")
    put(cas, "out", "name: s, kind: ascii, export: {session: in}", "name: t, kind: ascii")
    with refused(400, "another hash than session_hash says"):
        received(cas, "in")


def test_wrong_hash_tells_strangers_nothing(cas) -> None:
    """Only who is exported to learns that a session has another hash."""
    put(cas, "out", "name: s, kind: ascii, export: {session: else}")
    with refused(400, "does not exist, or does not export"):
        put(cas, "in", f"name: s, import: {{session: out, secret: s, session_hash: {'ab' * 32}}}")


def test_retired_and_recreated(cas) -> None:
    """A retired exporter exports nothing; one that is created anew under its name is followed by name."""
    text = "name: s, kind: ascii, export: {session: in}"
    put(cas, "out", text)
    put(cas, "in", "name: s, import: {session: out, secret: s}")
    before = received(cas, "in")
    put(cas, "out")
    with refused(400, "does not export"):
        received(cas, "in")
    put(cas, "out", text)
    assert received(cas, "in") == received(cas, "out") != before


def test_chain_ends_where_it_is_cut(cas) -> None:
    """Each link of a chain must hold: what is withdrawn in the middle reaches nobody behind it."""
    names = [f"c{number}" for number in range(9)]
    for name, before, after in zip(names, ["", *names], [*names[1:], "end"], strict=False):
        source = f"import: {{session: {before}, secret: s}}" if before else "kind: ascii"
        put(cas, name, f"name: s, {source}, export: {{session: {after}}}")
    assert received(cas, "c8") == received(cas, "c0")
    with refused(400, "more than 8 imports one after the other"):
        put(cas, "end", "name: s, import: {session: c8, secret: s}")
    put(cas, "c3", "name: s, import: {session: c2, secret: s}")
    with refused(400, "secrets.s.import of 'c4'"):
        received(cas, "c8")


def test_kind_is_carried_over_links_that_name_none(cas) -> None:
    """A link that says no kind does not hide that both ends differ."""
    put(cas, "a", "name: s, kind: binary, export: {session: b}")
    put(cas, "b", "name: s, import: {session: a, secret: s}, export: {session: c}")
    with refused(400, "has the kind binary, not ascii"):
        put(cas, "c", "name: s, kind: ascii, import: {session: b, secret: s}")
    put(cas, "c", "name: s, import: {session: b, secret: s}")
    assert received(cas, "c").kind == "binary"


def test_sessions_share_with_each_other(cas) -> None:
    """Two sessions may import different secrets from each other: that is no circle."""
    put(cas, "a", "name: x, kind: ascii, export: {session: b}")
    put(cas, "b", "name: x, import: {session: a, secret: x}", "name: y, kind: ascii, export: {session: a}")
    put(cas, "a", "name: x, kind: ascii, export: {session: b}", "name: y, import: {session: b, secret: y}")
    assert received(cas, "a", "y") == received(cas, "b", "y")
    assert received(cas, "a", "x") == received(cas, "b", "x")


def test_public_secret_is_for_every_session(cas) -> None:
    """What anyone may read any session may import."""
    put(cas, "out", "name: s, kind: binary, export_public: true", "name: t, kind: ascii")
    put(cas, "in", "name: s, kind: binary, import: {session: out, secret: s}")
    assert received(cas, "in") == received(cas, "out")
    with refused(400, "does not export"):
        put(cas, "in", "name: t, kind: ascii, import: {session: out, secret: t}")


def test_public_certificate_comes_without_its_key() -> None:
    """To be readable by anyone does not hand out the private key, nor parts that are not known to be public."""
    whole = Value(kind="x509", content=b"leaf", more={"private_key": b"key", "chain": b"chain", "later": b"?"})
    assert public_part(whole) == Value(kind="x509", content=b"leaf", more={"chain": b"chain"})
    with refused(400, "pgp-key that is only public"):
        public_part(Value(kind="pgp-key", content=b"private"))


def test_one_public_value_does_not_hang_on_others(cas) -> None:
    """A public import that broke is told when it is asked for, and when all are; the others can be had one by one."""
    put(cas, "out", "name: s, kind: ascii, export: {session: in}")
    put(
        cas,
        "in",
        "name: s, import: {session: out, secret: s}, export_public: true",
        "name: p, kind: ascii, value: open, export_public: true",
    )
    assert json.loads(cas.ask("GET", "/v1/values/session=in,secret=s").body)["value"]
    put(cas, "out")
    assert json.loads(cas.ask("GET", "/v1/values/session=in,secret=p").body) == {"value": "open"}
    for selector in ("session=in", "session=in,secret=s"):
        answer = cas.ask("GET", f"/v1/values/{selector}")
        assert answer.status == 400
        assert "does not export" in json.loads(answer.body)["error"]


def test_public_values_fit_into_an_answer(cas) -> None:
    """Nobody can make the CAS write answers without end: too many at once are refused, each alone is given."""
    put(cas, "big", *(f"name: s{n}, kind: binary, size: 65536, export_public: true" for n in range(17)))
    answer = cas.ask("GET", "/v1/values/session=big")
    assert answer.status == 413
    assert "ask for each alone" in json.loads(answer.body)["error"]
    assert len(json.loads(cas.ask("GET", "/v1/values/session=big,secret=s3").body)["value"]) == 2 * 65536


def test_look_ups_do_not_grow_with_sessions(cas) -> None:
    """One import costs the same statements in a store of 2 and of 60 sessions."""
    put(cas, "out", "name: s, kind: ascii, export: [{session: x}, {namespace: in}]")
    put(cas, "in", "name: s, import: {session: out, secret: s}")

    def statements() -> int:
        count: list[str] = []
        cas.store._db.set_trace_callback(count.append)
        fresh = SessionRegistry(cas.store)
        live = fresh.live("in")
        assert live is not None
        assert fresh.view().value(live, "s").content
        cas.store._db.set_trace_callback(None)
        return len(count)

    before = statements()
    for number in range(58):
        put(cas, f"in/x{number}", "name: s, import: {session: out, secret: s}")
    assert statements() == before


# A reference model of the rules, over sessions with one secret each.

NAMES = ("a", "a/b", "ab", "a/b/c")


@dataclass(frozen=True)
class One:
    """A session with one secret: where it comes from, and to whom it goes: (way, name, hash is right or None)."""

    kind: str | None
    source: str | None
    exports: tuple[tuple[str, str, bool | None], ...]
    public: bool


def granted(world: Mapping[str, One], name: str, kind: str | None = None, seen: int = 0) -> str | None:
    """The session whose value `name` receives, by the rules read aloud; None where it gets nothing."""
    one = world[name]
    kind = one.kind or kind
    if one.source is None:
        return name
    owner = world.get(one.source)
    if owner is None or one.source == name or seen == 8:
        return None
    named = any(
        hash_right is not False
        and (receiver == name if way == "session" else name == receiver or name.startswith(receiver + "/"))
        for way, receiver, hash_right in owner.exports
    )
    if not (named or owner.public) or (kind and owner.kind and kind != owner.kind):
        return None
    return granted(world, one.source, kind, seen + 1)


ONES = st.builds(
    One,
    kind=st.sampled_from(["ascii"] * 7 + ["binary"]),
    source=st.sampled_from([None, None, None, *NAMES]),
    exports=st.lists(
        st.tuples(st.sampled_from(["session", "namespace"]), st.sampled_from(NAMES), st.none() | st.just(False)),
        min_size=1,
        max_size=4,
    ).map(tuple),
    public=st.sampled_from([False, False, False, True]),
).flatmap(lambda one: st.sampled_from([one, replace(one, kind=None)] if one.source else [one]))


def entry(one: One, own: str) -> str:
    """The secret as it stands in a description."""
    exports = ", ".join(
        f"{{{way}: {own}{name}{'' if right is None else ', session_hash: ' + '00' * 32}}}"
        for way, name, right in one.exports
    )
    parts = ["name: s", f"export: [{exports}]", f"export_public: {str(one.public).lower()}"]
    parts += [f"kind: {one.kind}"] if one.kind else []
    parts += [f"import: {{session: {own}{one.source}, secret: s}}"] if one.source else []
    return ", ".join(parts)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Iterator[Cas]:
    """One CAS for all examples, each of which has names of its own."""
    found = Cas(tmp_path_factory.mktemp("crowd") / "state")
    yield found
    found.close()


COUNT = count()


FREE = One(kind="ascii", source=None, exports=(), public=False)
TO_A = replace(FREE, exports=(("namespace", "a", None),))
LIKE_A = {"a": FREE, "a/b": TO_A, "ab": replace(FREE, source="a/b"), "a/b/c": FREE}
KIND_BETWEEN = {
    "a": replace(TO_A, kind="binary"),
    "a/b": replace(TO_A, kind=None, source="a"),
    "ab": FREE,
    "a/b/c": replace(FREE, source="a/b"),
}


@example(world=LIKE_A)
@example(world=KIND_BETWEEN)
@settings(max_examples=250)
@given(world=st.fixed_dictionaries(dict.fromkeys(NAMES, ONES)))
def test_delivery_is_granted_exactly_by_the_rules(crowd, world: dict[str, One]) -> None:
    """For any web of sessions, the newest versions decide as the reference model does: who receives, and whose value.

    They are stored as they would be after any history: what is not granted now was granted once.
    """
    own = f"w{next(COUNT)}"
    with crowd.store.writing():
        for name, one in world.items():
            wanted = read_upload(session(f"{own}{name}", entry(one, own)).encode())
            version = Version(
                hash=wanted.hash, name=wanted.session.name, number=1, predecessor=None, description=wanted.text
            )
            made = {key: generate(key, found) for key, found in wanted.session.secrets.items() if found.is_generated}
            crowd.store.add(version, {key: to_stored(value) for key, value in made.items()})
    for name in NAMES:
        owner = granted(world, name)
        try:
            value = received(crowd, f"{own}{name}")
        except Refusal:
            assert owner is None, (name, world)
        else:
            assert owner is not None, (name, world)
            assert value == received(crowd, f"{own}{owner}")


@pytest.mark.parametrize(
    ("export", "hinted"),
    [
        (f"[{{session: n, session_hash: {'ab' * 32}}}]", True),
        ("[{session: other}]", False),
        ("[{namespace: other}]", False),
        ("[]", False),
    ],
)
def test_only_who_is_named_learns_of_an_export(cas: Cas, export: str, hinted: bool) -> None:  # noqa: FBT001
    """A refusal speaks of another session_hash to the session that is named, and to nobody else."""
    put(cas, "owner", f"name: s, kind: ascii, size: 8, export: {export}")
    with pytest.raises(Refusal) as found:
        put(cas, "n", "name: s, import: {session: owner, secret: s}")
    assert ("it exports to another session_hash" in found.value.message) is hinted


def test_a_caller_without_a_key_is_given_nothing(cas: Cas) -> None:
    """Another CAS that proves no key is refused before anything is looked for, with the words for all others."""
    put(cas, "owner", "name: s, kind: ascii, size: 8, export: [{session: n}]")
    words = []
    for name in ("owner", "nobody"):
        with refused(403, "does not trust the key None") as found:
            cas.sessions.exported(Ask(session=name, secret="s", importer="n", importer_hash="ab" * 32), None)
        words.append(found.value.message)
    assert words[0] == words[1]
