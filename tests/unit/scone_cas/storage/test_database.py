"""State directory and store: private, sealed, locked, and refused with words when something is wrong with them."""

import sqlite3
import stat
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from scone_cas.filesystems.tags import SERVICE, Tag, Tags
from scone_cas.server.assembly import assemble, initialise
from scone_cas.storage.database import Store, Version
from scone_cas.storage.sealing import Sealer
from scone_cas.storage.state_directory import lock, seal_key
from scone_policy.errors import SconeError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLANTED = "planted-SECRET-value-0123456789"


def start(state) -> str:
    """The key hash of a CAS that starts on this state."""
    return initialise(state, now=NOW, random=bytes(32)).key_hash


def test_state_is_private(tmp_path) -> None:
    """Nobody else may enter the directory or read a file in it, even if it was made with open permissions."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    start(state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}


def test_identity_survives_restarts(tmp_path) -> None:
    """The CAS keeps its key."""
    assert start(tmp_path) == start(tmp_path) == assemble(tmp_path).identity.key_hash


def test_planted_values_are_not_in_the_files(cas, person) -> None:
    """Neither given nor generated values, nor the CAS's private key, are on disk in clear."""
    cas.upload(
        f"name: x\nversion: '0.3'\nsecrets:\n- {{name: a, kind: ascii, value: {PLANTED}}}\n"
        "- {name: b, kind: ascii, size: 40}\n",
        person("ann"),
    )
    live = cas.sessions.live("x")
    number = cas.parts.identity.key.private_numbers().private_value
    secrets = [PLANTED.encode(), cas.stored("x", "b").content, b"PRIVATE KEY", number.to_bytes(32, "big")]
    content = b"".join(path.read_bytes() for path in cas.state.iterdir())
    assert live.hash.encode() in content
    assert not [secret for secret in secrets if secret in content]


def test_second_cas_on_a_state_is_refused(tmp_path) -> None:
    """The lock says that another CAS runs."""
    lock(tmp_path)
    with pytest.raises(SconeError, match="another CAS runs on this state"):
        lock(tmp_path)


def test_lost_seal_key_is_fatal_and_said(tmp_path) -> None:
    """Without its key a store is not opened, and no new key is made over it."""
    start(tmp_path)
    (tmp_path / "seal.key").unlink()
    with pytest.raises(SconeError, match=r"seal\.key is missing"):
        start(tmp_path)
    assert not (tmp_path / "seal.key").exists()


@pytest.mark.parametrize(("content", "part"), [(b"short", "damaged"), (bytes(32), "does not open")])
def test_wrong_seal_key_is_said(tmp_path, content: bytes, part: str) -> None:
    """Another key than the store's is noticed at the start."""
    start(tmp_path)
    (tmp_path / "seal.key").write_bytes(content)
    with pytest.raises(SconeError, match=part):
        start(tmp_path)


def test_damaged_store_is_said(tmp_path) -> None:
    """A file that is no database stops the start, in words."""
    start(tmp_path)
    (tmp_path / "cas.db").write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    (tmp_path / "cas.db-wal").unlink(missing_ok=True)
    with pytest.raises(SconeError, match="damaged or unreadable"):
        start(tmp_path)


def test_newer_schema_is_refused(tmp_path) -> None:
    """A store that a newer CAS wrote is not touched."""
    start(tmp_path)
    with sqlite3.connect(tmp_path / "cas.db") as db:
        db.execute("INSERT INTO schema VALUES (9)")
    db.close()
    with pytest.raises(SconeError, match="schema 9, and this CAS knows schema 3"):
        start(tmp_path)


def test_older_schema_is_extended(cas, person) -> None:
    """A store of the first schema gains what is new, and what it held opens as before."""
    cas.upload("name: x\nversion: '0.3'\nsecrets: [{name: b, kind: ascii, size: 40}]\n", person("ann"))
    value = cas.store.values(cas.store.current("x"))
    with cas.store.writing() as db:
        for table in ("tag", "password", "lease", "used_password"):
            db.execute(f"DROP TABLE {table}")
        db.execute("DELETE FROM schema WHERE version > 1")
    cas.store.close()
    initialise(cas.state, now=NOW, random=bytes(32))
    assert cas.store.values(cas.store.current("x")) == value
    cas.upload("name: y\nversion: '0.3'\nvolumes: [{name: v}]\n", person("ann"))
    assert cas.store.row("SELECT count(*) FROM tag") == (1,)


def test_state_that_is_a_file_is_said(tmp_path) -> None:
    """A path that cannot be a directory is named."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SconeError, match="cannot be used"):
        start(tmp_path / "file")


def test_sealed_values_do_not_move() -> None:
    """What was sealed for one place opens nowhere else, and not under another key."""
    sealer = Sealer(bytes(32))
    sealed = sealer.seal(b"x", "value", "session", "secret")
    assert sealer.open(sealed, "value", "session", "secret") == b"x"
    for opener, place in (
        (sealer, ("value", "sessions", "ecret")),
        (Sealer(b"1" * 32), ("value", "session", "secret")),
    ):
        with pytest.raises(SconeError, match="does not open"):
            opener.open(sealed, *place)


def test_swapped_rows_are_noticed(cas, person) -> None:
    """An old description put in the place of the current one does not open there."""
    for name in ("x", "y"):
        cas.upload(f"name: {name}\nversion: '0.3'\n", person("ann"))
    with cas.store.writing() as db:
        (other,) = db.execute("SELECT description FROM session WHERE name = 'y'").fetchone()
        db.execute("UPDATE session SET description = ? WHERE name = 'x'", (other,))
    with pytest.raises(SconeError, match="does not open"):
        cas.store.current("x")


def test_two_successors_are_impossible(cas, person) -> None:
    """Even past all checks the store itself takes one successor only."""
    first = cas.upload("name: x\nversion: '0.3'\n", person("ann"))
    successor = {"name": "x", "predecessor": first.hash, "description": "-"}
    cas.store.add(Version(hash="a" * 64, number=2, **successor), {})
    with pytest.raises(sqlite3.IntegrityError):
        cas.store.add(Version(hash="b" * 64, number=3, **successor), {})


def test_failed_transaction_leaves_nothing(cas, person) -> None:
    """What fails on the way is undone, and the connection goes on."""
    cas.upload("name: x\nversion: '0.3'\n", person("ann"))

    def fail() -> None:
        with cas.store.writing() as db:
            db.execute("DELETE FROM session")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert cas.store.current("x") is not None


def test_seal_key_is_read_again(tmp_path) -> None:
    """The key on disk opens what was sealed by an earlier start."""
    start(tmp_path)
    first = Store(tmp_path, seal_key(tmp_path))
    assert b"PRIVATE KEY" in first.kept("identity")
    first.close()


def test_state_that_cannot_be_written_is_said(tmp_path) -> None:
    """What the operating system refuses at the start comes out in words, not as a traceback."""
    (tmp_path / "challenges.db").mkdir()
    with pytest.raises(SconeError, match="the state cannot be written"):
        start(tmp_path)


def test_reads_only_read(tmp_path) -> None:
    """A statement that changes rows does not run where rows are looked up, not even inside a transaction."""
    start(tmp_path)
    store = Store(tmp_path, seal_key(tmp_path))
    for statement in ("DELETE FROM kept", "INSERT INTO schema VALUES (9)", "UPDATE kept SET name = ''"):
        with store.writing(), pytest.raises(AssertionError):
            store.row(statement)
    assert store.row("SELECT count(*) > 0 FROM kept") == (1,)


def test_changes_are_in_a_transaction(cas) -> None:
    """What is changed in a transaction happens with all of it or not at all; what is changed alone is there at once."""
    tags, other = Tags(cas.store), Tags(Store(cas.state, seal_key(cas.state)))
    first, second = Tag(origin="a"), Tag(origin="b")
    tags.put("n", SERVICE, "s", first)
    cas.store.keep("x", b"1")
    assert other.get("n", SERVICE, "s") == first
    with suppress(ZeroDivisionError), cas.store.writing():
        tags.put("n", SERVICE, "s", second)
        tags.drop("n", SERVICE, "t")
        cas.store.forget("x")
        assert tags.get("n", SERVICE, "s") == second
        assert other.get("n", SERVICE, "s") == first
        raise ZeroDivisionError
    assert tags.get("n", SERVICE, "s") == first
    assert cas.store.kept("x") == b"1"
    tags.drop("n", SERVICE, "s")
    assert other.get("n", SERVICE, "s") is None


def test_failed_version_leaves_nothing(cas, person) -> None:
    """A version that cannot be added whole is not added, and the one before keeps its values."""
    first = cas.upload("name: x\nversion: '0.3'\nsecrets:\n- {name: a, kind: ascii, size: 4}\n", person("ann"))
    before = cas.stored("x", "a")
    wrong = Version(hash="a" * 64, name="x", number=2, predecessor=first.hash, description="-")
    with cas.store.writing() as db:
        db.execute("CREATE TEMP TRIGGER disk_full BEFORE INSERT ON value BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error, match="full"):
        cas.store.add(wrong, {"a": b"1"})
    assert cas.sessions.live("x").hash == first.hash
    assert cas.stored("x", "a") == before
