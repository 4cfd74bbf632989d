"""One line per event on standard error: time, event, fields. Never a secret: names, hashes, sizes, addresses."""

import json
import os
import sys
from datetime import UTC, datetime


def event(name: str, **fields: object) -> None:
    """Write one line in one call, so that lines of several processes never mix."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    words = [f"{key}={_spell(value)}" for key, value in fields.items() if value is not None]
    line = " ".join([now, name, *words]) + "\n"
    try:
        os.write(sys.stderr.fileno(), line.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        return  # nobody reads the log any more: no reason to fail a request


def _spell(value: object) -> str:
    written = str(value)
    plain = written.isprintable() and written and not set(written) & set(' "=')
    return written if plain else json.dumps(written)
