"""Runs a builder command around another toolchain: one JSON document in, one out (docs/vendor-toolchain.md).

Nothing of a builder's answer is believed before its form was checked; no shell is involved; what it writes to standard
error is its progress, whose last line becomes the reason of a failure.
"""

import contextlib
import json
import os
import re
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scone_provider.errors import ImageError
from scone_provider.file_errors import file_problem, resolved
from scone_provider.image.oci.reference import parse_reference

PROTOCOL = 1
_CHUNK = 1 << 16
_KEY_FILE_LIMIT = 1024
_MEASUREMENT = re.compile("[0-9a-f]{64}")
_TAG = re.compile("[0-9a-f]{32}")
_WHERE = "scone:builder"


@dataclass(frozen=True, kw_only=True)
class BuilderLimits:
    """What a builder may take: seconds, and bytes of its answer."""

    seconds: float = 3600.0
    answer: int = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """What a builder made. `image` is by digest; measurement and tag in hex; the key is a secret."""

    image: str
    measurement: str
    fspf_tag: str
    fspf_key: str = field(repr=False)


class Builder:
    """A builder command. `tell` gets each line of its progress."""

    def __init__(
        self, command: Sequence[str], *, limits: BuilderLimits | None = None, tell: Callable[[str], None]
    ) -> None:
        """Raises ImageError for what is no command."""
        if not command or not all(word and "\x00" not in word for word in command):
            raise ImageError(
                "this is no command", where=_WHERE, fix='give a list of words, for example ["python3", "builder.py"]'
            )
        self._command, self._limits, self._tell = tuple(command), limits or BuilderLimits(), tell

    def build(
        self,
        *,
        manifest: Mapping[str, Any],
        folder: Path,
        to: str,
        native_image: str | None,
        requirements: Sequence[str] = (),
        signing_key: str | None = None,
    ) -> BuiltImage:
        """Has a confidential image built and pushed to `to`. Raises ImageError.

        `requirements` (the main file first) and `signing_key` are files, relative to `folder`.
        """
        place = resolved(folder, where=_WHERE, kind=ImageError)
        answer = self._ask(
            {
                "operation": "build",
                "manifest": manifest,
                "folder": str(place),
                "to": to,
                "native_image": native_image,
                "requirements": list(requirements),
                "signing_key": None if signing_key is None else {"file": str(place / signing_key)},
            }
        )
        image = _pinned(answer.get("image"), to)
        measured = answer.get("mrenclave")
        return BuiltImage(
            image=image,
            # A builder that only wraps the image leaves the measuring to the image itself.
            measurement=self.measure(image, manifest)
            if measured is None
            else _hex(measured, "mrenclave", _MEASUREMENT),
            fspf_tag=_hex(answer.get("fspf_tag"), "fspf_tag", _TAG),
            fspf_key=_key(answer.get("fspf_key")),
        )

    def measure(self, image: str, manifest: Mapping[str, Any]) -> str:
        """MRENCLAVE of a ready image, as its own binary says under SCONE_HASH=1. Raises ImageError."""
        answer = self._ask({"operation": "measure", "image": image, "manifest": manifest})
        return _hex(answer.get("mrenclave"), "mrenclave", _MEASUREMENT)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        document = json.dumps({"version": PROTOCOL, **request}, sort_keys=True).encode()
        output = self._run(document, str(request["operation"]))
        try:
            answer = json.loads(output)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("version") != PROTOCOL:
            raise ImageError(
                f"the builder's answer is no JSON object of version {PROTOCOL}",
                where=_WHERE,
                fix="it has to write one such object to standard output, and everything else to standard error",
            )
        return answer

    def _run(self, document: bytes, operation: str) -> bytes:
        try:
            process = subprocess.Popen(  # noqa: S603  the stack's own setting, and no shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise ImageError(
                f"the builder {self._command[0]!r} cannot be started: {error.strerror}",
                where=_WHERE,
                fix="give the path of a program that exists here",
            ) from None
        with process:
            try:
                output, last = _Conversation(process, document, self._limits, self._tell).hold()
            except BaseException:
                _stop(process)
                raise
        if process.returncode:
            raise ImageError(
                f"the builder failed to {operation} (exit code {process.returncode})" + (f": {last}" if last else ""),
                where=_WHERE,
                # Its own last words say what to do better than any of ours.
                fix="" if last else "let it say why on standard error (docs/vendor-toolchain.md)",
            )
        return output


class _Conversation:
    """Writes the request, reads the answer and the progress, all at once and within the limits."""

    def __init__(
        self, process: subprocess.Popen[bytes], document: bytes, limits: BuilderLimits, tell: Callable[[str], None]
    ) -> None:
        self._process, self._left, self._limits, self._tell = process, memoryview(document), limits, tell
        self._output, self._line, self._last = bytearray(), bytearray(), ""

    def hold(self) -> tuple[bytes, str]:
        deadline = time.monotonic() + self._limits.seconds
        with selectors.DefaultSelector() as selector:
            handlers = {
                self._process.stdin: (selectors.EVENT_WRITE, self._write),
                self._process.stdout: (selectors.EVENT_READ, self._read_answer),
                self._process.stderr: (selectors.EVENT_READ, self._read_progress),
            }
            for stream, (event, handler) in handlers.items():
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, event, handler)
            while selector.get_map():
                for key, _ in selector.select(max(0.0, min(1.0, deadline - time.monotonic()))):
                    if not key.data(key.fd):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
                if time.monotonic() > deadline:
                    raise self._too_slow()
        try:
            self._process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._too_slow() from None
        self._end_line()
        return bytes(self._output), self._last

    def _too_slow(self) -> ImageError:
        return ImageError(
            f"the builder took more than {self._limits.seconds:g} s",
            where=_WHERE,
            fix="it is stopped then: let it do less, or do the slow part before",
        )

    def _write(self, descriptor: int) -> bool:
        try:
            self._left = self._left[os.write(descriptor, self._left[:_CHUNK]) :]
        except BrokenPipeError:
            return False  # it does not want to know more
        return bool(self._left)

    def _read_answer(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        self._output += data
        if len(self._output) > self._limits.answer:
            raise ImageError(
                f"the builder's answer has more than {self._limits.answer} bytes",
                where=_WHERE,
                fix="write what is no answer to standard error",
            )
        return bool(data)

    def _read_progress(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            self._end_line()
        self._line += rest
        del self._line[:-4096]
        return bool(data)

    def _end_line(self) -> None:
        text = "".join(c for c in self._line.decode("utf-8", "replace") if c.isprintable()).strip()[-500:]
        self._line.clear()
        if text:
            self._last = text
            self._tell(text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the builder and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _pinned(value: object, to: str) -> str:
    text = value if isinstance(value, str) else ""
    reference, asked = parse_reference(text) if "@" in text else None, parse_reference(to)
    if reference is None or reference.digest is None or reference.name != asked.name:
        raise ImageError(
            f"the builder's `image` is not {asked.name}@sha256:…", where=_WHERE, fix="it has to push to `to`, by digest"
        )
    return f"{reference.name}@{reference.digest}"


def _hex(value: object, name: str, form: re.Pattern[str]) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if not form.fullmatch(text):
        raise ImageError(
            f"the builder's `{name}` is not {form.pattern[-3:-1]} hex digits",
            where=_WHERE,
            fix="docs/vendor-toolchain.md shows an answer",
        )
    return text


def _key(value: object) -> str:
    """The key behind the reference `{"file": "/path"}`: 64 hex digits or 32 bytes."""
    file = value.get("file") if isinstance(value, Mapping) else None
    if not isinstance(file, str) or not file.startswith("/"):
        raise ImageError(
            'the builder\'s `fspf_key` is not {"file": "/path"}',
            where=_WHERE,
            fix="write the key into a file with mode 0600, and name that by its absolute path",
        )
    wrong = ImageError(
        "the builder's key file does not hold a key of 32 bytes", where=_WHERE, fix="write 32 bytes, or 64 hex digits"
    )
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise ImageError("the builder's key file is readable for others", where=_WHERE, fix="give it mode 0600")
            data = opened.read(_KEY_FILE_LIMIT)
    except (OSError, ValueError) as error:
        what = "the builder's key file does not hold a key of 32 bytes"
        raise file_problem(error, what, where=_WHERE, kind=ImageError) from None
    if len(data) == 32:
        return data.hex()
    text = data.decode("ascii", "replace").strip().lower()
    if not _MEASUREMENT.fullmatch(text):
        raise wrong
    return text
