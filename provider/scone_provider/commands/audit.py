"""`pulumi-scone audit verify`: reads a log of the embedded CAS and tells the verdict (docs/audit-log.md)."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from scone_cas.audit.verify import Known, Verdict, verify
from scone_policy.errors import SconeError
from scone_policy.keys.key_hash import decode_key_hash
from scone_provider.file_errors import file_problem


def verify_file(
    path: Path, *, cas_key: str | None, known: str | None, as_json: bool, tell: Callable[[str], object]
) -> int:
    """Tell the verdict; its code. Raises SconeError when the file, the key or `known` cannot be read."""
    if cas_key is not None:
        decode_key_hash(cas_key)
    try:
        last = Known.parse(known) if known is not None else None
    except ValueError as problem:
        raise SconeError(f"--last: {problem}", fix="copy what an earlier run printed after `last`") from None
    try:
        with path.open("rb") as file:
            verdict = verify(file, cas_key=cas_key, known=last)
    except OSError as problem:
        raise file_problem(problem, "the log cannot be read", where=path) from None
    tell(json.dumps(asdict(verdict)) if as_json else _words(verdict))
    return verdict.code


def _words(verdict: Verdict) -> str:
    lines = [f"{verdict.code}: {verdict.message}"]
    if verdict.entries:
        lines.append(f"entries  {verdict.entries}, from number {verdict.first}; {verdict.crashes} ends without a stop")
        lines.append(f"CAS      {verdict.cas_key or 'unknown'}")
        lines.append(f"last     {verdict.last}")
    return "\n".join(lines)
