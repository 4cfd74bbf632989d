"""One line per event on standard error: time, event, fields. Never a secret: names, hashes, sizes, addresses."""

import json
import os
import sys
from datetime import UTC, datetime

from scone_cas.tally import Tally

LONGEST = 300
"""Characters of a field: what is beyond is only counted."""
_REPEATED = Tally()


def event(name: str, **fields: object) -> None:
    """Write one line in one call, so that lines of several processes never mix."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    words = [f"{key}={_spell(value)}" for key, value in fields.items() if value is not None]
    line = " ".join([now, name, *words]) + "\n"
    try:
        os.write(sys.stderr.fileno(), line.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        return  # nobody reads the log any more: no reason to fail a request


def repeated(name: str, **fields: object) -> None:
    """`event` for what anybody can cause as often as they like: the first of a kind in a while, then how many more."""
    if _REPEATED.is_news(name, tuple(fields.items())):
        event(name, **fields)
    for counted in _REPEATED.due():
        same = dict(counted.kind) if isinstance(counted.kind, tuple) else {}
        event(counted.group, **same, more=counted.count, seconds=counted.seconds)


def _spell(value: object) -> str:
    written = str(value)
    if len(written) > LONGEST:
        written = f"{written[:LONGEST]}…(+{len(written) - LONGEST})"
    plain = written.isprintable() and written and not set(written) & set(' "=')
    return written if plain else json.dumps(written)
