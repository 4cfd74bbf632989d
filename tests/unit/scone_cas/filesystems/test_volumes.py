"""Volumes and tags: made, kept, shared and replaced; of all who replace one tag exactly one succeeds."""

import io
import json
import sqlite3
import threading
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scone_cas.api.client import STATUS
from scone_cas.audit.verify import verify
from scone_cas.errors import Refusal
from scone_cas.server.assembly import assemble, initialise
from support.enclave_side import EnclaveSide
from support.software_enclave import MEASUREMENT

A, B, C = "a" * 32, "b" * 32, "c" * 32
KEY = "0d" * 32


def text(name: str = "app", **parts: Any) -> dict[str, object]:
    """A session with a service that mounts `volumes` at `/<name>`, with `mount` keys."""
    volumes = parts.get("volumes", [{"name": "db"}])
    mount = parts.get("mount", {})
    mounts = [{"name": one["name"], "path": f"/{one['name']}", **mount} for one in volumes]
    service = {"command": ["prog"], "attestation": {"mrenclave": MEASUREMENT}, "image_name": "i"}
    service |= parts.get("service", {})
    return {
        "name": name,
        "version": "0.3.12",
        "services": [{"name": "main", **service}],
        "images": [{"name": "i", "volumes": mounts}],
        "volumes": volumes,
        "secrets": parts.get("secrets", []),
        "security": {"attestation": {"tolerate": ["debug-mode"]}},
    }


class World:
    """A CAS, what services see of it, and the person who uploads."""

    def __init__(self, cas, owner) -> None:
        self.cas, self.owner = cas, owner
        self.side = EnclaveSide(cas)

    def upload(self, name: str = "app", **parts: object) -> str:
        """Create or replace a session; its hash."""
        described = text(name, **parts)
        before = self.cas.sessions.live(name)
        if before is not None:
            described["predecessor"] = before.hash
        return self.cas.upload(json.dumps(described), self.owner).hash

    def volume(self, name: str = "app", path: str = "/db") -> dict[str, object]:
        """A volume as it is delivered now."""
        return self.side.volume(f"{name}/main", path)


@pytest.fixture
def world(cas, person) -> World:
    """An empty CAS."""
    return World(cas, person("ann"))


@contextmanager
def refused(status: int, words: str):
    """An upload that is refused."""
    with pytest.raises(Refusal, match=words) as caught:
        yield
    assert STATUS[caught.value.reason] == status


def test_the_launcher_gets_none_of_it(world) -> None:
    """A service with volumes starts under a launcher that does not know them; no key leaves the CAS for it."""
    world.upload()
    status, found = world.side.attest("app/main")
    assert status == 200
    assert not {"volumes", "lease", "file_system"} & set(found)


def test_unknown_words_are_ignored(world) -> None:
    """What a newer client accepts does not keep it from this CAS."""
    world.upload()
    assert "volumes" not in world.side.attest("app/main", accepts=["something"])[1]
    assert world.side.code("app/main", accepts=["something", 1]) == "malformed"


def test_initialised_volume(world) -> None:
    """CAS makes a key; the first report sets the tag; both stay the same for whoever comes next."""
    world.upload()
    lease, found = world.side.keeper("app/main")
    (volume,) = found["volumes"]
    assert volume == {
        "name": "db",
        "path": "/db",
        "key": volume["key"],
        "tag": None,
        "files": "encrypted",
        "update_policy": "rollback_protected",
    }
    assert len(bytes.fromhex(volume["key"])) == 32
    assert lease.tag(A, replaces=None, volume="db") == "kept"
    assert world.volume() == volume | {"tag": A}


def test_volume_is_kept_over_updates(world) -> None:
    """An update of the session keeps key and tag, however its mounts change; removing the volume loses them."""
    world.upload()
    lease, found = world.side.keeper("app/main")
    lease.tag(A, replaces=None, volume="db")
    world.upload(volumes=[{"name": "db", "files": "authenticated-only"}, {"name": "other"}])
    kept = world.volume()
    assert (kept["key"], kept["tag"], kept["files"]) == (found["volumes"][0]["key"], A, "authenticated-only")
    world.upload(volumes=[])
    world.upload()
    anew = world.volume()
    assert anew["key"] != kept["key"]
    assert anew["tag"] is None


def test_explicit_volume(world) -> None:
    """A given tag is the first one; updates count until the description gives another key or tag."""
    given_ = {"name": "db", "fspf_key": KEY, "fspf_tag": A}
    world.upload(volumes=[given_])
    lease, found = world.side.keeper("app/main")
    assert (found["volumes"][0]["key"], found["volumes"][0]["tag"]) == (KEY, A)
    assert lease.tag(B, replaces=A, volume="db") == "kept"
    world.upload(volumes=[given_ | {"update_policy": "ephemeral"}])
    assert world.volume()["tag"] == B
    world.upload(volumes=[given_ | {"fspf_tag": C}])
    assert world.volume()["tag"] == C
    world.upload(volumes=[given_])
    assert world.volume()["tag"] == A


def test_key_from_a_secret(world) -> None:
    """A volume's key may be a binary secret of 32 bytes; another is refused, at upload or once it is known."""
    volume = {"name": "db", "fspf_key": "$$SCONE::k$$", "fspf_tag": A}
    world.upload(volumes=[volume], secrets=[{"name": "k", "kind": "binary", "value": KEY}])
    assert world.volume()["key"] == KEY
    with refused(400, r"volumes\.db\.fspf_key: k must be a binary secret of 32 bytes"):
        world.upload(volumes=[volume], secrets=[{"name": "k", "kind": "binary", "value": "00"}])
    short = {"name": "k", "kind": "binary", "value": "00", "export": {"session": "app"}}
    world.upload("own", volumes=[], secrets=[short])
    world.upload(volumes=[volume], secrets=[{"name": "k", "import": {"session": "own", "secret": "k"}}])
    _, error = world.side.attest("app/main", accepts=["volumes"])
    assert (error["code"], error["message"]) == (
        "secret_unavailable",
        "volume db: fspf_key: k is not a binary secret of 32 bytes",
    )


@pytest.mark.parametrize("replaces", [None, C])
def test_stale_update_is_refused(world, replaces: str | None) -> None:
    """Who does not name the newest tag works on an old state, and changes nothing."""
    world.upload()
    first, _ = world.side.keeper("app/main")
    late, _ = world.side.keeper("app/main")
    assert first.tag(A, replaces=None, volume="db") == "kept"
    assert late.tag(B, replaces=replaces, volume="db") == "stale_tag"
    assert world.volume()["tag"] == A
    assert late.tag(B, replaces=A, volume="db") == "kept"


def test_repeated_update_succeeds(world) -> None:
    """An update whose answer got lost may be sent again under its lease; another lease's same tag is stale."""
    world.upload()
    lease, _ = world.side.keeper("app/main")
    assert [lease.tag(A, replaces=None, volume="db") for _ in range(2)] == ["kept", "kept"]
    other, _ = world.side.keeper("app/main")
    assert other.tag(A, replaces=None, volume="db") == "stale_tag"


def test_ephemeral_is_never_kept(world) -> None:
    """An ephemeral volume is delivered as it is, and stays so."""
    world.upload(mount={"update_policy": "ephemeral"})
    lease, _ = world.side.keeper("app/main")
    assert lease.tag(A, replaces=None, volume="db") == "ephemeral"
    assert world.volume()["tag"] is None


def test_without_rollback_protection(world) -> None:
    """The last report counts, whatever it says it replaces."""
    world.upload(mount={"update_policy": "no_rollback_protection"})
    lease, _ = world.side.keeper("app/main")
    assert [lease.tag(tag, replaces=C, volume="db") for tag in (A, B, A)] == ["kept"] * 3
    assert world.volume()["tag"] == A


@pytest.mark.parametrize(
    ("volume", "mount", "policy"),
    [
        (None, None, "rollback_protected"),
        ("ephemeral", None, "ephemeral"),
        ("ephemeral", "rollback_protected", "rollback_protected"),
        ("no_rollback_protection", "rollback_protected", "rollback_protected"),
        ("ephemeral", "no_rollback_protection", "no_rollback_protection"),
        ("no_rollback_protection", "ephemeral", "ephemeral"),
        (None, "no_rollback_protection", "no_rollback_protection"),
    ],
)
def test_the_mount_decides_before_the_volume(world, volume, mount, policy: str) -> None:
    """What the mount says counts, be it the default, else what the volume says."""
    world.upload(volumes=[{"name": "db", "update_policy": volume}], mount={"update_policy": mount})
    assert world.volume()["update_policy"] == policy


def test_volume_that_is_not_there(world) -> None:
    """A service changes the tags of its own mounts alone, and those of its own protected file system."""
    world.upload()
    lease, _ = world.side.keeper("app/main")
    assert lease.tag(A, replaces=None, volume="nothing") == "unknown_volume"
    assert lease.tag(A, replaces=None) == "unknown_volume"


def test_file_system_of_the_service(world) -> None:
    """Its tag is replaced like a volume's, kept over updates, and begins anew with the description's own tag."""
    service = {"fspf_key": KEY, "fspf_tag": A, "fspf_path": "/main.fspf"}
    world.upload(service=service)
    lease, found = world.side.keeper("app/main")
    assert found["file_system"] == {"path": "/main.fspf", "update_policy": "rollback_protected_reinitializable"}
    assert lease.tag(C, replaces=B) == "stale_tag"
    assert lease.tag(B, replaces=A) == "kept"
    assert world.side.attest("app/main")[1]["protection"] == {"key": KEY, "tag": B}
    world.upload(service=service | {"command": ["other"]})
    assert world.side.attest("app/main")[1]["protection"]["tag"] == B
    world.upload(service=service | {"fspf_tag": C})
    assert world.side.attest("app/main")[1]["protection"]["tag"] == C
    world.upload(service=service)
    assert world.side.attest("app/main")[1]["protection"]["tag"] == A
    world.upload(service=service | {"fspf_update_policy": "no_rollback_protection"})
    lease, _ = world.side.keeper("app/main")
    assert lease.tag(C, replaces=B) == "kept"


def shared(world, export: dict[str, object], **importing: object) -> None:
    """A volume of `own` exported to `app`, which imports it."""
    world.upload("own", volumes=[{"name": "data", "export": [export]}])
    name = export.get("volume_alias", "data")
    world.upload("app", volumes=[{"name": "db", "import": {"session": "own", "volume": name}}], **importing)


def test_shared_volume(world) -> None:
    """Exporter and importer have one key and one tag; what one writes the other must name."""
    shared(world, {"to": {"session": "app"}})
    ours, theirs = world.volume("own", "/data"), world.volume("app", "/db")
    assert ours["key"] == theirs["key"]
    exporter, _ = world.side.keeper("own/main")
    importer, _ = world.side.keeper("app/main")
    assert importer.tag(A, replaces=None, volume="db") == "kept"
    assert exporter.tag(B, replaces=None, volume="data") == "stale_tag"
    assert exporter.tag(B, replaces=A, volume="data") == "kept"
    assert world.volume("app", "/db")["tag"] == B


def test_alias(world) -> None:
    """An exported volume is imported under its alias alone."""
    shared(world, {"to": {"session": "app"}, "volume_alias": "input"})
    assert world.volume()["key"] == world.volume("own", "/data")["key"]
    with refused(400, r"volumes\.db\.import of 'app'.*does not export a volume 'data'"):
        world.upload("app", volumes=[{"name": "db", "import": {"session": "own", "volume": "data"}}])


@pytest.mark.parametrize(
    ("bound", "wanted", "policy"),
    [
        (None, None, "rollback_protected"),
        (None, "ephemeral", "ephemeral"),
        ("ephemeral", None, "ephemeral"),
        ("ephemeral", "no_rollback_protection", "ephemeral"),
        ("no_rollback_protection", None, "rollback_protected"),
        ("no_rollback_protection", "no_rollback_protection", "no_rollback_protection"),
    ],
)
def test_export_bounds_the_importer(world, bound, wanted, policy: str) -> None:
    """The importer's policy counts up to what the export allows."""
    shared(world, {"to": {"session": "app"}, "update_policy": bound}, mount={"update_policy": wanted})
    assert world.volume()["update_policy"] == policy


def test_importer_must_not_want_more(world) -> None:
    """A rollback-protected export refuses an importer that wants none, with the place."""
    with refused(400, r"images\.i\.volumes\./db\.update_policy: .*rollback_protected at most"):
        shared(world, {"to": {"session": "app"}}, mount={"update_policy": "no_rollback_protection"})


def test_export_that_is_taken_back(world) -> None:
    """Without its export a volume is neither delivered nor changed any more, and the importer cannot be updated."""
    shared(world, {"to": {"session": "app"}})
    lease, _ = world.side.keeper("app/main")
    world.upload("own", volumes=[{"name": "data"}])
    assert lease.tag(A, replaces=None, volume="db") == "secret_unavailable"
    assert world.side.code("app/main", accepts=["volumes"]) == "secret_unavailable"
    assert world.side.code("app/main") == "ok"
    with refused(400, "does not export a volume 'data'"):
        world.upload("app", volumes=[{"name": "db", "import": {"session": "own", "volume": "data"}}])
    assert world.volume("own", "/data")["tag"] is None


def test_export_to_one_version(world) -> None:
    """An export that names a hash reaches that version of the importer alone."""
    world.upload("own", volumes=[{"name": "data", "export": [{"to": {"session": "app"}}]}])
    importing = [{"name": "db", "import": {"session": "own", "volume": "data"}}]
    first = world.upload("app", volumes=importing)
    pinned = [{"name": "data", "export": [{"to": {"session": "app", "session_hash": first}}]}]
    world.upload("own", volumes=pinned)
    assert world.volume()["name"] == "db"
    with refused(400, "does not export"):
        world.upload("app", volumes=importing, service={"command": ["other"]})


def test_policy_is_judged_again(world) -> None:
    """An enclave that the newest policy does not take any more changes no tag."""
    world.upload()
    lease, _ = world.side.keeper("app/main")
    world.upload(service={"attestation": {"mrenclave": "00" * 32}})
    assert lease.tag(A, replaces=None, volume="db") == "unexpected_measurement"
    assert lease.say("renew")[1]["code"] == "unexpected_measurement"


def test_audit(world) -> None:
    """Each kept tag is one entry, which names volume, owner and writer; refused ones are none."""
    shared(world, {"to": {"session": "app"}})
    lease, _ = world.side.keeper("app/main")
    for replaces in (None, C):
        lease.tag(A, replaces=replaces, volume="db")
        lease.tag(B, replaces=C, volume="db")
    log = (world.cas.state / "audit.log").read_bytes()
    assert verify(io.BytesIO(log)).code == 0
    told = [json.loads(line)["entry"] for line in log.splitlines()]
    fields = [entry["fields"] for entry in told if entry["event"] == "volume_tag_updated"]
    assert fields == [
        {"owner": "own", "volume": "data", "session": "app", "service": "main", "address": "192.0.2.7"},
    ]


def test_nothing_of_it_is_on_disk_in_clear(world) -> None:
    """Keys and tags, of volumes and of leases, are sealed in the store and stand in no log."""
    world.upload()
    lease, found = world.side.keeper("app/main")
    lease.tag("7e" * 16, replaces=None, volume="db")
    key = found["volumes"][0]["key"]
    planted = [key.encode(), bytes.fromhex(key), lease.key, lease.key.hex().encode(), b"7e" * 16, bytes([0x7E]) * 16]
    content = b"".join(path.read_bytes() for path in world.cas.state.iterdir())
    assert not [secret for secret in planted if secret in content]


@pytest.mark.parametrize("harm", ["commit", "kill"])
def test_failure_leaves_the_old_tag(world, monkeypatch, harm: str) -> None:
    """When the change cannot be stored, or CAS is killed before it is, the old tag stands and the log tells of it."""

    class KilledError(BaseException):
        """The end of the process."""

    def fail(*_arguments: object) -> None:
        raise KilledError if harm == "kill" else sqlite3.OperationalError("disk I/O error")

    world.upload()
    lease, _ = world.side.keeper("app/main")
    lease.tag(A, replaces=None, volume="db")
    journal = world.cas.parts.journal
    real = journal.record
    with monkeypatch.context() as patch:
        patch.setattr(world.cas.store, "keep", fail)
        if harm == "kill":
            # A killed process tells nothing more.
            patch.setattr(journal, "record", lambda event, **f: real(event, **f) if "failed" not in event else fail())
            with pytest.raises(KilledError):
                lease.tag(B, replaces=A, volume="db")
        else:
            assert lease.tag(B, replaces=A, volume="db") == "internal"
    assert world.volume()["tag"] == A
    initialise(world.cas.state, random=bytes(32))
    journal.close()
    world.cas.parts = assemble(world.cas.state)
    log = (world.cas.state / "audit.log").read_text()
    assert log.count('"session_failed"') == 1
    assert log.count('"volume_tag_updated"') == 2


def test_one_of_many_writers_wins(world) -> None:
    """Of eight enclaves that replace one tag at a time exactly one succeeds, and its tag is the one that stays."""
    world.upload()
    leases = [world.side.keeper("app/main")[0] for _ in range(8)]
    outcomes: dict[str, str] = {}
    begin = threading.Barrier(len(leases))

    def write(number: int) -> None:
        begin.wait()
        tag = f"{number:032x}"
        outcomes[tag] = leases[number].tag(tag, replaces=None, volume="db")
        world.cas.store.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(leases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [tag for tag, outcome in outcomes.items() if outcome == "kept"]
    assert sorted(outcomes.values()) == ["kept"] + ["stale_tag"] * (len(leases) - 1)
    assert world.volume()["tag"] == winner


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([None, A, B, C]), st.sampled_from([A, B, C])), max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(steps=STEPS)
def test_tags_follow_the_rule(world, steps: list[tuple[int, str | None, str]]) -> None:
    """Whatever two enclaves do: an update is kept if it names the current tag, or is the writer's own last one."""
    world.upload(volumes=[])
    world.upload()
    leases = [world.side.keeper("app/main")[0] for _ in range(2)]
    current: str | None = None
    writer: int | None = None
    for who, replaces, tag in steps:
        rightly = replaces == current or (tag == current and who == writer)
        assert (leases[who].tag(tag, replaces=replaces, volume="db") == "kept") == rightly
        current, writer = (tag, who) if rightly else (current, writer)
    assert world.volume()["tag"] == current
