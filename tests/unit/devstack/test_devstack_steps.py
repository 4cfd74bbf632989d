import io
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.devstack.errors import DevstackError
from tools.devstack.progress import Progress
from tools.devstack.steps import Engine, Job, Step


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Progress(stream=io.StringIO(), live=False) as progress:
        yield Engine(log=tmp_path, progress=progress)


def marker(folder: Path, name: str, *, after: tuple[str, ...] = (), ran: list[str] | None = None) -> Step:
    """A step that is ready once its file exists."""

    def run(_job: Job) -> None:
        if ran is not None:
            ran.append(name)
        (folder / name).touch()

    return Step(name=name, is_ready=lambda _: (folder / name).exists(), run=run, after=after)


def test_steps_run_after_what_they_depend_on(engine: Engine, tmp_path: Path) -> None:
    """The order of dependence holds, whatever the order of the list."""
    ran: list[str] = []
    engine.bring_up(
        [
            marker(tmp_path, "c", after=("b",), ran=ran),
            marker(tmp_path, "b", after=("a",), ran=ran),
            marker(tmp_path, "a", ran=ran),
        ]
    )
    assert ran == ["a", "b", "c"]


def test_a_step_that_is_ready_does_not_run(engine: Engine, tmp_path: Path) -> None:
    """A second run finds everything and does nothing."""
    ran: list[str] = []
    steps = [marker(tmp_path, "a", ran=ran), marker(tmp_path, "b", after=("a",), ran=ran)]
    engine.bring_up(steps)
    engine.bring_up(steps)
    assert ran == ["a", "b"]


def test_a_failure_says_step_last_lines_log_and_advice(engine: Engine, tmp_path: Path) -> None:
    """The error names the step, ends with at most twenty lines of its log, the log's path, and what to do."""

    def run(job: Job) -> None:
        job.command("sh", "-c", "for i in $(seq 30); do echo line $i; done; exit 3")

    with pytest.raises(DevstackError) as caught:
        engine.bring_up([Step(name="broken", is_ready=lambda _: False, run=run, fix="repair it")])
    text = str(caught.value)
    assert text.startswith("step broken: sh ended with exit code 3")
    assert "line 11\n" in text
    assert "line 10\n" not in text
    assert str(tmp_path / "step-broken.log") in text
    assert text.endswith("→ repair it")


def test_what_depends_on_a_failure_does_not_run(engine: Engine, tmp_path: Path) -> None:
    """After a failure nothing new starts, and the failure itself is what is reported."""
    ran: list[str] = []

    def run(_job: Job) -> None:
        raise DevstackError("no")

    with pytest.raises(DevstackError, match="step first: no"):
        engine.bring_up(
            [
                Step(name="first", is_ready=lambda _: False, run=run),
                marker(tmp_path, "second", after=("first",), ran=ran),
            ]
        )
    assert ran == []


def test_a_failure_stops_what_runs_beside_it(engine: Engine) -> None:
    """A long command of another step is ended at once, and its stop does not hide the failure."""
    started = threading.Event()

    def long(job: Job) -> None:
        started.set()
        job.command("sleep", "600")

    def fail(_job: Job) -> None:
        assert started.wait(10)
        raise DevstackError("boom")

    with pytest.raises(DevstackError, match="step bad: boom"):
        engine.bring_up(
            [
                Step(name="long", is_ready=lambda _: False, run=long),
                Step(name="bad", is_ready=lambda _: False, run=fail),
            ]
        )


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Ctrl-C interrupts, also where this run itself was started in the background and inherited that it does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
def test_an_interrupt_stops_the_command_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends the running program; a new engine completes what is missing and repeats nothing."""
    ran: list[str] = []
    child: list[bool] = []

    def run(job: Job) -> None:
        if not child:
            child.append(True)
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            job.command("sleep", "600")
        (tmp_path / "slow").touch()

    steps = [
        marker(tmp_path, "a", ran=ran),
        Step(name="slow", is_ready=lambda _: (tmp_path / "slow").exists(), run=run, after=("a",)),
    ]
    with Progress(stream=io.StringIO(), live=False) as progress, pytest.raises(KeyboardInterrupt):
        Engine(log=tmp_path, progress=progress).bring_up(steps)
    assert not (tmp_path / "slow").exists()
    with Progress(stream=io.StringIO(), live=False) as progress:
        Engine(log=tmp_path, progress=progress).bring_up(steps)
    assert (tmp_path / "slow").exists()
    assert ran == ["a"]


def test_a_step_that_ran_but_is_not_ready_has_failed(engine: Engine) -> None:
    """Success is what the check says, not that nothing went wrong."""
    with pytest.raises(DevstackError, match="step vain: it ran to its end, but is still not ready"):
        engine.bring_up([Step(name="vain", is_ready=lambda _: False, run=lambda _: None)])


def test_heavy_steps_never_overlap(engine: Engine, tmp_path: Path) -> None:
    """Of two heavy steps without dependence, one runs after the other."""
    inside: list[str] = []
    most: list[int] = []

    def heavy(name: str) -> Step:
        def run(_job: Job) -> None:
            inside.append(name)
            most.append(len(inside))
            (tmp_path / name).touch()
            inside.remove(name)

        return Step(name=name, is_ready=lambda _: (tmp_path / name).exists(), run=run, heavy=True)

    engine.bring_up([heavy(f"h{number}") for number in range(8)])
    assert max(most) == 1


def test_a_command_that_takes_too_long_is_ended(engine: Engine) -> None:
    """A limit in time is an error of the step, not a hang."""

    def run(job: Job) -> None:
        job.command("sleep", "600", timeout=0.1)

    with pytest.raises(DevstackError, match="step slow: sleep took more than 0 s"):
        engine.bring_up([Step(name="slow", is_ready=lambda _: False, run=run)])


def test_a_missing_program_is_named(engine: Engine) -> None:
    """No traceback where a program is not installed."""

    def run(job: Job) -> None:
        job.command("no-such-program-anywhere")

    with pytest.raises(DevstackError, match="cannot run no-such-program-anywhere"):
        engine.bring_up([Step(name="x", is_ready=lambda _: False, run=run)])


def test_a_command_gets_text_and_gives_its_output(engine: Engine) -> None:
    """What a step feeds to a program and what comes back are whole, also beyond a pipe's size."""
    got: list[str] = []
    text = "x" * 300_000
    ready: list[bool] = []

    def run(job: Job) -> None:
        got.append(job.command("cat", text=text))
        ready.append(True)

    engine.bring_up([Step(name="cat", is_ready=lambda _: bool(ready), run=run)])
    assert got == [text]


def test_a_dependence_on_nothing_is_a_mistake_of_ours(engine: Engine, tmp_path: Path) -> None:
    """A typing error in the list of steps shows at once instead of as a hang."""
    with pytest.raises(ValueError, match="nowhere"):
        engine.bring_up([marker(tmp_path, "a", after=("nowhere",))])
