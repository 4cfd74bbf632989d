"""Namespaces of the embedded CAS: the root, who may create and list below one, and hashes that are public."""

import json

import pytest
import yaml

from scone_cas.api.client import STATUS
from scone_cas.errors import Refusal
from scone_cas.registry.sessions import SessionRegistry
from scone_cas.sessions import root_namespace
from unit.scone_cas.audit.test_audit_log import entries

SALT = "salt: '00112233445566778899aabbccddeeff'\n"


def session(name: str, rest: str = "", *, predecessor: str | None = None) -> str:
    """A minimal description."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return f'name: {name}\nversion: "0.3.12"\n{before}{rest}'


def refused(status: int, part: str):
    """The refusal that is expected."""
    return pytest.raises(Refusal, match=part, check=lambda refusal: STATUS[refusal.reason] == status)


def test_root_is_there_from_the_start(cas) -> None:
    """Anybody may read the default root, on every route; its hash is the same on every CAS, and no file holds it."""
    assert root_namespace.DEFAULT.hash == "c91dc8f27e26584d4d913daef470e8ffbaf7e305bf03867802218dc307cb694e"
    answer = json.loads(cas.ask("GET", "/v1/sessions//").body)
    assert (answer["hash"], answer["predecessor"]) == (root_namespace.DEFAULT.hash, None)
    assert json.loads(cas.ask("GET", "/v1/sessions//", hash=root_namespace.DEFAULT.hash).body) == answer
    assert yaml.safe_load(cas.ask("GET", "/session//").body)["access_policy"]["create_sessions"] == ["ANY"]
    assert not cas.store.holds_sessions()


def test_root_is_claimed_by_updating_it(cas, person) -> None:
    """The first to update the default root of an empty CAS owns it, and decides who creates below it from then on."""
    access = f"access_policy: {{create_sessions: ['{person('bob').key_hash}']}}\n"
    with refused(409, "its hash must be given as predecessor"):
        cas.upload(session("/", access), person("ann"))
    claimed = cas.upload(session("/", access, predecessor=root_namespace.DEFAULT.hash), person("ann"))
    assert claimed.number == 2
    with refused(409, "Invalid previous session digest"):
        cas.upload(session("/", predecessor=root_namespace.DEFAULT.hash), person("ann"))
    with refused(403, "no permission to update the session '/'"):
        cas.upload(session("/", predecessor=claimed.hash), person("bob"))
    with refused(403, "create sessions in the namespace '/'"):
        cas.upload(session("app"), person("ann"))
    assert cas.upload(session("app"), person("bob")).number == 1
    assert cas.upload(session("/", access, predecessor=claimed.hash), person("ann")).number == 3


def test_history_of_the_root_begins_with_the_default(cas, person) -> None:
    """The predecessor of a claimed root can be read like any other version."""
    cas.upload(session("/", predecessor=root_namespace.DEFAULT.hash), person("ann"))
    newest = json.loads(cas.ask("GET", "/v1/sessions//", who=person("ann")).body)
    assert newest["predecessor"] == root_namespace.DEFAULT.hash
    first = json.loads(cas.ask("GET", "/v1/sessions//", who=person("ann"), hash=newest["predecessor"]).body)
    assert first["session"] == root_namespace.DEFAULT.text
    assert cas.ask("GET", "/v1/sessions//", who=person("bob"), hash=newest["predecessor"]).status == 403


def test_root_is_sealed_by_the_first_session(cas, person) -> None:
    """Once any other session exists, nobody can claim the root any more; creating goes on."""
    cas.upload(session("app"), person("ann"))
    with refused(403, "the root namespace is sealed: it can be claimed only while no other session exists"):
        cas.upload(session("/", predecessor=root_namespace.DEFAULT.hash), person("ann"))
    assert cas.upload(session("more"), person("bob")).number == 1


def test_namespace_hash_of_the_root(cas, person) -> None:
    """A session of the top level can say which root it expects, for who may read it: others could try guesses."""
    with refused(409, "'/' has another hash"):
        cas.upload(session("app", f"namespace_hash: {'00' * 32}\n"), person("ann"))
    claimed = cas.upload(
        session("/", "access_policy: {create_sessions: [ANY]}\n", predecessor=root_namespace.DEFAULT.hash),
        person("ann"),
    )
    with refused(409, "'/' has another hash"):
        cas.upload(session("app", f"namespace_hash: {root_namespace.DEFAULT.hash}\n"), person("ann"))
    with refused(403, "namespace_hash can be given by who may read"):
        cas.upload(session("app", f"namespace_hash: {claimed.hash}\n"), person("bob"))
    assert cas.upload(session("app", f"namespace_hash: {claimed.hash}\n"), person("ann")).number == 1


def test_namespace_hash_of_the_default_root(cas, person) -> None:
    """The default root's hash is known before there is anything in the CAS."""
    assert cas.upload(session("app", f"namespace_hash: {root_namespace.DEFAULT.hash}\n"), person("ann")).number == 1


def names(cas, who, **query: str) -> list[str]:
    """The names in all pages of a listing."""
    found: list[str] = []
    while True:
        answer = cas.ask("GET", "/v1/sessions", who=who, **query)
        assert answer.status == 200, answer.body
        page = json.loads(answer.body)
        found += page["sessions"]
        if page["next"] is None:
            return found
        assert page["next"] == page["sessions"][-1]
        query["after"] = page["next"]


TREE = ["a", "a/b", "a/b-x", "a/b.y", "a/b/c", "a/b/c/d", "a/b~", "a/bc", "a/c", "a/c/z", "ab", "b"]


@pytest.fixture
def tree(cas, person):
    """A CAS of ann's with nested namespaces, the root hers."""
    cas.upload(session("/", predecessor=root_namespace.DEFAULT.hash), person("ann"))
    for name in TREE:
        cas.upload(session(name), person("ann"))
    return cas


@pytest.mark.parametrize("limit", ["1", "2", "3", "100"])
@pytest.mark.parametrize("namespace", ["/", "a", "a/b", "a/b/c", "a/b/c/d"])
def test_listing_gives_what_is_right_below(tree, person, namespace: str, limit: str) -> None:
    """Exactly the sessions directly in a namespace, in order, whatever the size of a page."""
    found = names(tree, person("ann"), namespace=namespace, limit=limit)
    assert found == sorted(name for name in TREE if (name.rpartition("/")[0] or "/") == namespace)


def test_listing_the_root_is_the_default(tree, person) -> None:
    """Without a namespace the root is meant; from the middle it goes on with what follows."""
    assert names(tree, person("ann")) == ["a", "ab", "b"]
    assert names(tree, person("ann"), after="a") == ["ab", "b"]
    assert names(tree, person("ann"), namespace="a", after="a/b") == ["a/b-x", "a/b.y", "a/bc", "a/b~", "a/c"]


def test_listing_after_any_name(tree, person) -> None:
    """`after` is a place in the order: the name need not exist, nor lie in the namespace."""
    assert names(tree, person("ann"), after="aa") == ["ab", "b"]
    assert names(tree, person("ann"), after="a/c") == ["ab", "b"]
    assert names(tree, person("ann"), namespace="a/b", after="/") == ["a/b/c"]
    assert names(tree, person("ann"), namespace="a/b", after="z") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"namespace": "none"}, 404),
        ({"namespace": "a//b"}, 400),
        ({"limit": "0"}, 400),
        ({"limit": "1001"}, 400),
        ({"limit": "x"}, 400),
        ({"after": "a//b"}, 400),
    ],
)
def test_bad_listings(tree, person, query: dict[str, str], status: int) -> None:
    """What is no namespace, no page and no name of it is refused."""
    assert tree.ask("GET", "/v1/sessions", who=person("ann"), **query).status == status


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        ("{}", {"ann"}),
        ("{read: [ANY]}", {"ann", "bob", "cy", "nobody"}),
        ("{read: [CREATOR, '%s']}", {"ann", "bob"}),
        ("{read: [CREATOR, '%s'], list_sessions: [NONE]}", {"ann"}),
        ("{list_sessions: [NONE]}", {"ann"}),
        ("{list_sessions: ['%s']}", {"ann", "bob"}),
        ("{read: [NONE], update: [NONE], create_sessions: [ANY], list_sessions: ['%s']}", {"ann", "bob"}),
        ("{read: [NONE], update: [NONE], create_sessions: [ANY], list_sessions: [NONE]}", {"ann"}),
    ],
)
def test_who_may_list(cas, person, access: str, allowed: set[str]) -> None:
    """Whoever `list_sessions` names, else whoever may read; the creator always."""
    cas.upload(session("n", f"access_policy: {access.replace('%s', person('bob').key_hash)}\n"), person("ann"))
    found = {
        name
        for name in ("ann", "bob", "cy", "nobody")
        if cas.ask("GET", "/v1/sessions", who=None if name == "nobody" else person(name), namespace="n").status == 200
    }
    assert found == allowed


def may_list(cas, who) -> bool:
    """Whether somebody may list the sessions below `n`."""
    return bool(cas.ask("GET", "/v1/sessions", who=who, namespace="n").status == 200)


def unlisted(**rights: str) -> str:
    """An access policy that names nobody who may list."""
    found = {"read": "NONE", "list_sessions": "NONE", **rights}
    return "access_policy: {" + ", ".join(f"{right}: ['{entry}']" for right, entry in found.items()) + "}\n"


def test_maker_is_known_for_listing_alone(cas, person) -> None:
    """Who made a version that does not refer to CREATOR stands nowhere in it, and has no other right by it."""
    done = cas.upload(session("n", unlisted(read=person("bob").key_hash, update="NONE")), person("ann"))
    version = cas.sessions.read("n", person("bob").caller)
    assert "creator" not in yaml.safe_load(version.description)
    assert SessionRegistry(cas.store).live("n").creator is None  # type: ignore[union-attr]
    assert (may_list(cas, person("ann")), may_list(cas, person("bob"))) == (True, False)
    with refused(403, "no permission to read"):
        cas.sessions.read("n", person("ann").caller)
    with refused(403, "no permission to update"):
        cas.upload(session("n", predecessor=done.hash), person("ann"))


def test_maker_is_that_of_the_newest_version(cas, person) -> None:
    """Whoever replaces a version lists in the place of who made the one before, as with a creator that is recorded."""
    rest = unlisted(update=person("bob").key_hash)
    first = cas.upload(session("n", rest), person("ann"))
    second = cas.upload(session("n", rest, predecessor=first.hash), person("bob"))
    assert (may_list(cas, person("ann")), may_list(cas, person("bob"))) == (False, True)
    cas.upload(session("n", unlisted(update="CREATOR"), predecessor=second.hash), person("bob"))
    assert may_list(cas, person("bob"))
    assert not cas.store.keeps("maker n")


def test_makers_of_old_stores_are_not_known(cas, person) -> None:
    """A store that was written before makers were kept works as it did: it is not known who made the session."""
    cas.upload(session("n", unlisted(update="NONE")), person("ann"))
    with cas.store.writing():
        cas.store.forget("maker n")
    assert not may_list(cas, person("ann"))


def test_nobody_in_particular_makes_nothing(cas, person) -> None:
    """Without a certificate there is no maker, and who made the version before is it no longer."""
    first = cas.upload(session("n", unlisted(update="ANY")), person("ann"))
    cas.upload(session("n", unlisted(update="ANY"), predecessor=first.hash), None)
    assert not any(may_list(cas, who) for who in (person("ann"), None))


def test_nobody_lists_the_default_root(cas, person) -> None:
    """Who else uses a CAS is nobody's business unless somebody who owns the root says so."""
    cas.upload(session("app"), person("ann"))
    assert cas.ask("GET", "/v1/sessions", who=person("ann")).status == 403


def test_listing_does_not_look_at_all_sessions(tree, person) -> None:
    """A page costs one or two index look-ups for each name on it, never a scan of the table."""
    asked: list[str] = []
    tree.store._db.set_trace_callback(asked.append)
    found = tree.sessions.listed("/", person("ann").caller, after=None, limit=2)
    tree.store._db.set_trace_callback(None)
    searches = [statement for statement in asked if "ORDER BY name" in statement]
    assert (found.names, found.following) == (("a", "ab"), "ab")
    assert len(searches) <= 6
    (plan,) = tree.store._db.execute(f"EXPLAIN QUERY PLAN {searches[0]}").fetchall()
    assert "SEARCH session USING" in plan[3]


def hash_of(cas, name: str, who=None) -> tuple[int, str | None]:
    """Status, and the hash where it is told."""
    answer = cas.ask("GET", f"/v1/session_hashes/{name}", who=who)
    return answer.status, json.loads(answer.body).get("hash")


def test_hash_needs_the_read_permission(cas, person) -> None:
    """Without a salt a hash would let anybody try out descriptions: it is for readers only."""
    done = cas.upload(session("n"), person("ann"))
    assert hash_of(cas, "n", person("ann")) == (200, done.hash)
    assert hash_of(cas, "n", person("bob")) == (403, None)
    assert hash_of(cas, "n") == (403, None)
    assert hash_of(cas, "none", person("ann")) == (404, None)


def test_hash_with_a_salt_is_public(cas, person) -> None:
    """With a salt, now or in a version before, anybody may know the hash; reading the session stays as it was."""
    first = cas.upload(session("n", SALT), person("ann"))
    assert hash_of(cas, "n") == (200, first.hash)
    second = cas.upload(session("n", predecessor=first.hash), person("ann"))
    assert hash_of(cas, "n", person("bob")) == (200, second.hash)
    assert cas.ask("GET", "/v1/sessions/n", who=person("bob")).status == 403
    reloaded = SessionRegistry(cas.store).live("n")
    assert reloaded is not None
    assert reloaded.public_hash == second.hash


def test_salt_of_another_session_is_nothing(cas, person) -> None:
    """A namespace's salt makes no hash below it public."""
    cas.upload(session("n", SALT), person("ann"))
    cas.upload(session("n/x"), person("ann"))
    assert hash_of(cas, "n/x") == (403, None)


def test_hashes_are_recorded_with_a_salt_only(cas, person) -> None:
    """The audit log names the hash of a version from the first salt on; versions before it stay without."""
    ann = person("ann")
    first = cas.ask("POST", "/session", who=ann, body=session("n").encode()).body.decode().split("id=")[1][:64]
    body = session("n", SALT, predecessor=first).encode()
    second = cas.ask("POST", "/session", who=ann, body=body).body.decode().split("id=")[1][:64]
    cas.ask("GET", "/session/n", who=ann)
    cas.ask("GET", "/v1/sessions/n", who=ann, hash=first)
    found = [entry["fields"] for entry in entries(cas.state) if entry["event"].startswith("session_")]
    assert [fields["hash"] for fields in found] == [None, second, second, None]
    assert first.encode() not in (cas.state / "audit.log").read_bytes()
