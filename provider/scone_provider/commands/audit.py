"""`pulumi-scone audit verify`: reads a log of the embedded CAS and tells the verdict (docs/audit-log.md)."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO

from scone_cas.audit.rotation import files_in
from scone_cas.audit.verify import Known, Part, Verdict, verify_parts
from scone_policy.errors import SconeError
from scone_policy.keys.key_hash import decode_key_hash
from scone_provider.file_errors import file_problem


def verify_files(
    paths: Sequence[Path], *, cas_key: str | None, known: str | None, as_json: bool, tell: Callable[[str], object]
) -> int:
    """Tell the verdict on a log in one or several files, or in folders; its code.

    Raises SconeError when a file, the key or `known` cannot be read.
    """
    if cas_key is not None:
        decode_key_hash(cas_key)
    try:
        last = Known.parse(known) if known is not None else None
    except ValueError as problem:
        raise SconeError(f"--last: {problem}", fix="copy what an earlier run printed after `last`") from None
    files = list(dict.fromkeys(file for path in paths for file in _files(path)))
    parts = [Part(name=str(path) if len(files) > 1 else "", open=partial(_opened, path)) for path in files]
    verdict = verify_parts(parts, cas_key=cas_key, known=last)
    tell(json.dumps(asdict(verdict)) if as_json else _words(verdict))
    return verdict.code


def _files(path: Path) -> list[Path]:
    try:
        found = files_in(path) if path.is_dir() else [path]
    except OSError as problem:
        raise file_problem(problem, "the log cannot be read", where=path) from None
    if not found:
        raise SconeError("there is no audit log in the folder", where=str(path), fix="name the CAS's state directory")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as problem:
        raise file_problem(problem, "the log cannot be read", where=path) from None


def _words(verdict: Verdict) -> str:
    lines = [f"{verdict.code}: {verdict.message}"]
    if verdict.entries:
        lines.append(f"entries  {verdict.entries}, from number {verdict.first}; {verdict.crashes} ends without a stop")
        lines.append(f"CAS      {verdict.cas_key or 'unknown'}")
        lines.append(f"last     {verdict.last}")
    return "\n".join(lines)
