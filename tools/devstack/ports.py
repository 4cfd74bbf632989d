"""Who listens where on this machine."""

import contextlib
import errno
import socket
from pathlib import Path

_LISTEN = "0A"


def accepts(address: str, port: int) -> bool:
    """Whether something accepts TCP connections at `address`:`port` right now."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def holder(address: str, port: int) -> str | None:
    """Who keeps others from listening at `address`:`port`, as `name (pid N)`; None where nobody does."""
    try:
        with socket.create_server((address, port)):  # reuses an address that only waits for old connections to fade
            return None
    except OSError as error:
        return _listener(port) if error.errno == errno.EADDRINUSE else None


def _listener(port: int) -> str:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in inodes:
                process = descriptor.parents[1]
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "a process that cannot be seen from here"
