"""Somebody who restores CAS's whole state to an older one, in which what was revoked since is still trusted."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scone_cas.storage.database import Store
from scone_cas.storage.rollback_counter import FileCounter, RollbackCounterError, RollbackGuard, begin
from scone_cas.storage.sealing import Sealer
from scone_policy.errors import SconeError
from scone_provider.errors import CasError
from support.real_cas import RealCas
from support.software_enclave import MEASUREMENT


def text(name: str, measurement: str, predecessor: str | None = None) -> str:
    """A session that trusts one measurement."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return (
        f"name: {name}\nversion: '0.3.12'\n{before}"
        f"services: [{{name: main, command: prog, attestation: {{mrenclave: {measurement}}}}}]\n"
        "security: {attestation: {tolerate: [debug-mode]}}\n"
    )


def refused_start(cas: RealCas, *options: str) -> str:
    """What a CAS says that does not start."""
    command = [*cas._command(), "--state", str(cas.state), "--client-port", "0", "--enclave-port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_restored_state_does_not_start(own_cas, tmp_path: Path, ann, name) -> None:
    """A revoked measurement stays revoked: the older state is refused with words, and started only on demand.

    Then the log says so, and leaving the counter out helps nobody who does not say that either.
    """
    place = tmp_path / "elsewhere" / "counter"
    place.parent.mkdir()
    own = own_cas("--rollback-counter", str(place))
    hash_ = own.client(ann).upload(text(name, MEASUREMENT))
    own.stop()
    shutil.copytree(own.state, tmp_path / "copy")
    own.start()
    own.client(ann).upload(text(name, "cd" * 32, hash_))
    assert own.enclave.attest(f"{name}/main")[0] == 403
    own.stop()
    shutil.rmtree(own.state)
    shutil.copytree(tmp_path / "copy", own.state)
    assert "an older state was restored" in refused_start(own, "--rollback-counter", str(place))
    assert "none was given" in refused_start(own)
    own.options = ("--rollback-counter", str(place), "--accept-rollback")
    own.start()
    assert b"rollback-accepted" in own.log.read_bytes()
    assert b'"event":"rollback_accepted"' in (own.state / "audit.log").read_bytes()
    own.stop()
    own.options = ("--rollback-counter", str(place))
    own.start()


def test_no_change_without_its_counter(own_cas, tmp_path: Path, ann, name) -> None:
    """While the counter cannot be raised a change is not acknowledged and no other begins; afterwards all goes on."""
    place = tmp_path / "elsewhere" / "counter"
    place.parent.mkdir()
    own = own_cas("--rollback-counter", str(place))
    own.client(ann).upload(text(name, MEASUREMENT))
    place.parent.rename(tmp_path / "away")
    with pytest.raises(CasError, match="rollback counter cannot be"):
        own.client(ann).upload(text(f"{name}-2", MEASUREMENT))
    assert own.enclave.attest(f"{name}/main")[0] == 200
    (tmp_path / "away").rename(place.parent)
    own.client(ann).upload(text(f"{name}-3", MEASUREMENT))
    own.kill()
    own.start()
    assert own.client(ann).read(f"{name}-3")


class Place:
    """A store with its counter, which a test crashes wherever it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self.counter = FileCounter(folder / "counter")
        self.open()
        self.store.initialise({})

    def open(self) -> None:
        """A process that has started."""
        self.store = Store(self.state, Sealer(bytes(32)))
        self.guard = RollbackGuard(self.store, self.counter, "cas")

    def start(self, *, accept: bool = False, counted: bool = True) -> bool:
        """A start of the CAS."""
        return begin(self.store, self.folder / "counter" if counted else None, "cas", accept=accept)

    def change(self, *, published: bool = True) -> None:
        """A change; not `published`: killed between the commit and the counter."""
        with self.store.writing():
            self.guard.advance()
        if published:
            self.guard.publish()

    def copy(self) -> Path:
        """What the state is now."""
        self.store.close()
        target = self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        shutil.copytree(self.state, target)
        return target

    def restore(self, copy: Path) -> None:
        """Put it back."""
        self.store.close()
        shutil.rmtree(self.state)
        shutil.copytree(copy, self.state)
        self.open()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A guarded store."""
    found = Place(tmp_path)
    found.start()
    return found


@pytest.mark.parametrize("changes", [1, 3, 100])
def test_any_older_state_is_refused(place: Place, changes: int) -> None:
    """One change or many; and a copy that was changed elsewhere until its number is larger is no better."""
    older = place.copy()
    for _ in range(changes):
        place.change()
    place.restore(older)
    with pytest.raises(SconeError, match="an older state was restored"):
        place.start()
    for _ in range(changes + 5):
        place.change(published=False)
    with pytest.raises(SconeError, match="an older state was restored"):
        place.start()


@pytest.mark.parametrize("lost", [1, 2, 20])
def test_a_crash_locks_nobody_out(place: Place, lost: int) -> None:
    """Killed after the commit and before the counter, once or often: the next start goes on by itself."""
    place.change()
    for _ in range(lost):
        place.change(published=False)
    place.open()
    assert place.start() is False
    place.change()
    assert place.start() is False


def test_a_crash_within_a_transaction_changes_nothing(place: Place) -> None:
    """Killed before the commit: neither store nor counter moved."""

    def killed() -> None:
        with place.store.writing():
            place.guard.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    place.open()
    assert place.start() is False


@pytest.mark.parametrize("harm", ["gone", "damaged", "folder"])
def test_a_lost_counter_locks_nobody_out_for_good(place: Place, harm: str) -> None:
    """A counter that is gone or damaged is refused in words; the owner can accept it, once, and is guarded again."""
    file = place.folder / "counter"
    file.unlink()
    if harm == "damaged":
        file.write_text('{"number": 7')
    elif harm == "folder":
        file.mkdir()
    with pytest.raises(SconeError) as refused:
        place.start()
    assert "--accept-rollback" in str(refused.value)
    if harm == "folder":
        file.rmdir()
    file.unlink(missing_ok=True)
    assert place.start(accept=True)
    older = place.copy()
    place.change()
    place.restore(older)
    with pytest.raises(SconeError, match="an older state was restored"):
        place.start()


def test_another_cas_counter(place: Place) -> None:
    """A counter that belongs to another CAS is never taken over."""
    with pytest.raises(SconeError, match="that of another CAS"):
        begin(place.store, place.folder / "counter", "other", accept=True)


def test_giving_it_up(place: Place) -> None:
    """Without the counter a guarded state starts only when that is accepted, and from then on as any other."""
    with pytest.raises(SconeError, match="none was given"):
        place.start(counted=False)
    place.start(counted=False, accept=True)
    place.start(counted=False)


def test_the_counter_never_goes_back(place: Place) -> None:
    """A late writer does not lower it; and what cannot be written is said."""
    late = place.counter.read()
    place.change()
    newest = place.counter.read()
    assert late is not None
    place.counter.raise_to(late)
    assert place.counter.read() == newest
    with pytest.raises(RollbackCounterError, match="cannot be raised"):
        FileCounter(place.folder / "nowhere" / "counter").raise_to(late)
