"""The step engine: runs what is not ready yet, in the order of dependence, and says which step failed and why.

A step can be interrupted at any moment: it publishes its result in one move, so the next run finds it ready or runs it
anew.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.devstack.errors import DevstackError
from tools.devstack.progress import Progress, duration

LOG_LINES = 20


class StoppedError(Exception):
    """The step was told to stop because another one failed or the user interrupted."""


class Job:
    """What a running step works with: its log, its commands, its word to the user."""

    def __init__(self, *, name: str, log: Path, progress: Progress, stop: threading.Event) -> None:
        self.name, self.log, self.stop = name, log, stop
        self._progress = progress

    def say(self, text: str, *, estimate: float | None = None) -> None:
        """Tell what the step works on now; `estimate` in seconds."""
        self.note(text)
        self._progress.detail(self.name, text, estimate=estimate)

    def note(self, text: str) -> None:
        """Write a line into the step's log."""
        with self.log.open("a") as log:
            log.write(f"{text}\n")

    def command(
        self,
        *argv: str | Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        text: str | None = None,
        timeout: float = 3600,
    ) -> str:
        """Run a program to its end and return its standard output; everything it says goes to the log.

        Raises DevstackError where it fails or takes longer than `timeout` seconds, StoppedError where the step is to
        stop.
        """
        words = [str(word) for word in argv]
        self.note(f"$ {' '.join(words)}")
        deadline = time.monotonic() + timeout
        with (
            self.log.open("ab") as log,
            self._start(words, log=log, environment=environment, cwd=cwd, text=text) as process,
        ):
            answer = b""
            given = text.encode() if text is not None else None
            while True:
                try:
                    answer, _ = process.communicate(given, timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    given = None
                    if self.stop.is_set() or time.monotonic() > deadline:
                        _end_group(process)
                        break
            log.write(answer)
        if self.stop.is_set():
            raise StoppedError
        if time.monotonic() > deadline:
            raise DevstackError(f"{words[0]} took more than {duration(timeout)}", where=self.name)
        if process.returncode:
            raise DevstackError(f"{Path(words[0]).name} ended with exit code {process.returncode}", where=self.name)
        return answer.decode(errors="replace")

    def succeeds(self, *argv: str | Path, environment: Mapping[str, str] | None = None) -> bool:
        """Whether a program ends well within a few seconds."""
        try:
            self.command(*argv, environment=environment, timeout=20)
        except DevstackError:
            return False
        return True

    def until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until `condition` holds; DevstackError `what` after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.stop.wait(0.1):
                raise StoppedError
            if time.monotonic() > deadline:
                raise DevstackError(f"{what} after {duration(seconds)}", where=self.name)

    @staticmethod
    def _start(
        words: list[str], *, log: IO[bytes], environment: Mapping[str, str] | None, cwd: Path | None, text: str | None
    ) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=None if environment is None else dict(environment),
                cwd=cwd,
                umask=0o022,
                start_new_session=True,  # an interrupt on the terminal reaches us, and we stop it in order
            )
        except OSError as error:
            raise DevstackError(
                f"cannot run {words[0]}: {error.strerror}", fix="see README: what the machine needs"
            ) from None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of set-up. `estimate` in seconds; `heavy` steps never run together; `fix` is advice for a failure."""

    name: str
    is_ready: Callable[[Job], bool]
    run: Callable[[Job], None]
    after: tuple[str, ...] = ()
    estimate: float = 5
    heavy: bool = False
    fix: str = ""


class Engine:
    """Brings a set of steps to readiness."""

    def __init__(self, *, log: Path, progress: Progress) -> None:
        self._log, self._progress = log, progress
        self._stop = threading.Event()
        self._heavy = threading.Lock()

    def bring_up(self, steps: Sequence[Step]) -> None:
        """Run every step that is not ready, after those it names.

        Raises the first failure as DevstackError, and KeyboardInterrupt after everything that ran was stopped.
        """
        waiting = {step.name: step for step in steps}
        if unknown := {name for step in steps for name in step.after} - set(waiting):
            raise ValueError(f"steps that do not exist: {sorted(unknown)}")
        done: set[str] = set()
        running: dict[Future[None], Step] = {}
        failure: Exception | None = None
        with ThreadPoolExecutor(max(len(steps), 1)) as pool:
            try:
                while waiting or running:
                    for step in [step for step in waiting.values() if done.issuperset(step.after)]:
                        running[pool.submit(self._bring, waiting.pop(step.name))] = step
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        step = running.pop(future)
                        if error := future.exception():
                            failure = _first(failure, error)
                            self._stop.set()
                            waiting.clear()
                        done.add(step.name)
            except BaseException:
                self._stop.set()
                raise
        if failure:
            raise failure

    def _bring(self, step: Step) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._log.mkdir(parents=True, exist_ok=True)
        log = self._log / f"step-{step.name}.log"
        check = Job(name=step.name, log=self._log / f"check-{step.name}.log", progress=self._progress, stop=self._stop)
        check.log.write_bytes(b"")
        if step.is_ready(check):
            return
        log.write_bytes(b"")
        job = Job(name=step.name, log=log, progress=self._progress, stop=self._stop)
        with self._heavy if step.heavy else contextlib.nullcontext():
            started = time.monotonic()
            self._progress.begin(step.name, estimate=step.estimate)
            outcome = "failed"
            try:
                self._run(step, job, check)
                outcome = f"done in {duration(time.monotonic() - started)}"
            except StoppedError:
                outcome = "stopped"
                raise
            except DevstackError as error:
                raise DevstackError(
                    _with_log(error.what, log), where=f"step {step.name}", fix=error.fix or step.fix or f"read {log}"
                ) from None
            finally:
                self._progress.end(step.name, outcome=outcome)

    def _run(self, step: Step, job: Job, check: Job) -> None:
        if self._stop.is_set():
            raise StoppedError
        try:
            step.run(job)
        except (OSError, subprocess.SubprocessError) as error:
            raise DevstackError(str(error)) from None
        if not step.is_ready(check):
            raise DevstackError("it ran to its end, but is still not ready")


def _first(known: Exception | None, error: BaseException) -> Exception:
    """The failure to report: the first that is one, not the stops that it caused."""
    if known and not isinstance(known, StoppedError):
        return known
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _with_log(what: str, log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    tail = "".join(f"\n    {line}" for line in lines)
    return f"{what}\n  last lines of {log}:{tail}" if tail else what


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """TERM to a program and its children, KILL after five seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        return
