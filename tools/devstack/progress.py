"""Says what set-up does: one live line on a terminal, plain lines with a heartbeat everywhere else."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TextIO

HEARTBEAT_SECONDS = 30.0
_REDRAW_SECONDS = 0.5
_WORTH_SAYING_SECONDS = 5.0


@dataclass
class _Task:
    name: str
    detail: str
    estimate: float
    started: float


def duration(seconds: float) -> str:
    """`12 s` below a minute, `3:12` from there on."""
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02}"


def about(seconds: float) -> str:
    """An estimate in the unit in which people think of it."""
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {round(seconds)} s"


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` shows a person a line that can be redrawn; continuous integration never does."""
    return (
        stream.isatty() and environ.get("CI", "").lower() not in ("1", "true", "yes") and environ.get("TERM") != "dumb"
    )


class Progress:
    """What runs right now, for a person who waits. Its methods may be called from any thread."""

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._stream = stream or sys.stdout
        self._live = is_terminal(self._stream, os.environ) if live is None else live
        self._clock, self._heartbeat = clock, heartbeat
        self._tasks: dict[str, _Task] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._drawn = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()
        with self._lock:
            self._clear()

    def line(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._print(text)

    def begin(self, name: str, *, estimate: float) -> None:
        """Step `name` starts and will take about `estimate` seconds."""
        with self._lock:
            self._tasks[name] = _Task(name, "", estimate, self._clock())
            if not self._live:
                self._print(f"{name}: started, {about(estimate)}")

    def detail(self, name: str, text: str, *, estimate: float | None = None) -> None:
        """Step `name` now works on `text`; with an `estimate` its clock starts anew."""
        with self._lock:
            if task := self._tasks.get(name):
                task.detail = text
                if estimate is not None:
                    task.estimate, task.started = estimate, self._clock()
                if not self._live:
                    self._print(f"{name}: {text}" + ("" if estimate is None else f", {about(estimate)}"))

    def end(self, name: str, *, outcome: str) -> None:
        """Step `name` is over; `outcome` is `done`, `failed` or `stopped`."""
        with self._lock:
            if self._tasks.pop(name, None):
                self._print(f"{name}: {outcome}")

    def beat(self) -> None:
        """Say once what runs."""
        with self._lock:
            for task in self._tasks.values():
                if self._clock() - task.started >= _WORTH_SAYING_SECONDS:
                    self._print(self._describe(task))

    def _repeat(self) -> None:
        while not self._over.wait(_REDRAW_SECONDS if self._live else self._heartbeat):
            if self._live:
                self._draw()
            else:
                self.beat()

    def _describe(self, task: _Task) -> str:
        what = f"{task.name}: {task.detail}" if task.detail else task.name
        return f"{what} {duration(self._clock() - task.started)} of {about(task.estimate)}"

    def _draw(self) -> None:
        with self._lock:
            self._clear()
            if self._tasks:
                text = " | ".join(self._describe(task) for task in self._tasks.values())
                width = _width(self._stream)
                self._stream.write(text if len(text) < width else text[: width - 2] + "…")
                self._stream.flush()
                self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def _print(self, text: str) -> None:
        self._clear()
        print(text, file=self._stream, flush=True)


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80
