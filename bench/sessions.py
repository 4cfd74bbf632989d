"""Time and memory per request of a CAS with ten, a thousand and ten thousand stored sessions, audit log on.

`python -m bench.sessions [--sizes 10 1000 10000] [-n 300]`. One CAS grows; at each size: reading sessions by chance, an
update, attestations (the launcher's own client), and the resident memory of all processes after that. Times that do not
grow stay near the first column's; memory stops growing where the caches are full (512 sessions in each process).
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.attest import ENOUGH, SESSION, build_client, rate, serving

from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity

WANTED = 1.5
"""How much more the largest size may take than the smallest; two cores that do other things are not quieter."""


def main() -> int:
    """Print a line a size; 1 when a time or the memory grew with the number of sessions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 10_000], help="%(default)s")
    parser.add_argument("-n", type=int, default=300, help="requests of each kind (%(default)s)")
    options = parser.parse_args()
    chance = random.Random(0)  # noqa: S311 - which sessions are read, no secret
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        driver = build_client(Path(folder))
        with serving(["-m", "scone_cas", "serve", "--state", str(state), "--rate", "1000000"]) as cas:
            who = Identity.create(common_name="bench", now=datetime.now(UTC))
            client = connect(cas["client"], tolerance=ENOUGH, cas_key=None, connect_to={}, identity=who)
            newest = client.upload(SESSION)
            stored = 1
            for size in options.sizes:
                fill(client, stored, size)
                stored = size

                def read(_: int, size: int = size) -> None:
                    client.read(f"s{chance.randrange(1, size)}")

                def update(_: int) -> None:
                    nonlocal newest
                    newest = client.upload(f"{SESSION}predecessor: {newest}\n")

                found = {
                    "read ms": timed(options.n, read),
                    "update ms": timed(options.n // 3, update),
                    "attest ms": 1000 / rate(driver, cas["enclave"], ["-n", str(options.n), "-c", "1"]),
                    "memory MiB": memory(int(cas["pid"])),
                }
                print(f"{size:6d} sessions   " + "   ".join(f"{name} {value:7.2f}" for name, value in found.items()))
                measured.append(found)
    grown = {name: measured[-1][name] / measured[0][name] for name in measured[0]}
    print("largest to smallest: " + ", ".join(f"{name} {factor:.2f}" for name, factor in grown.items()))
    return 0 if max(grown.values()) <= WANTED else 1


def fill(client: CasClient, stored: int, size: int) -> None:
    """Store sessions s1, s2 … until there are `size`."""

    def store(number: int) -> None:
        client.upload(SESSION.replace("name: bench", f"name: s{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(stored, size)))


def timed(count: int, action: Callable[[int], None]) -> float:
    """The median of so many runs, milliseconds."""
    times = []
    for number in range(count):
        before = time.perf_counter()
        action(number)
        times.append(1000 * (time.perf_counter() - before))
    return median(times)


def memory(pid: int) -> float:
    """Proportional memory of a process and all below it, MiB."""
    kibibytes = sum(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return kibibytes / 1024 + sum(memory(child) for child in children)


if __name__ == "__main__":
    sys.exit(main())
