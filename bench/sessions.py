"""Time and memory per request of CASes with ten, a thousand and ten thousand stored sessions, audit log on.

`python -m bench.sessions [--sizes 10 1000 10000] [-n 300]`. One CAS for each size, filled before anything is measured;
then rounds go from one to the next, so that all meet the same machine: reads of sessions taken by chance, updates of
one, attestations (the launcher's own client). A read by chance finds the session in the cache (512 in each process)
always, half of the time, or hardly ever: the miss, one short parse, is all that may show. Memory is of all processes.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.attest import ENOUGH, SESSION, build_client, rate, serving

from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.identity import Identity

ROUNDS = 5
WANTED = 1.5
"""How much more the largest size may take than the smallest; two cores that do other things are not quieter."""


class Measured:
    """One CAS of a size, and how long its requests took, in milliseconds."""

    def __init__(self, size: int, client: CasClient, served: dict[str, str]) -> None:
        self.size, self._client, self._served = size, client, served
        self._chance = random.Random(0)  # noqa: S311 - which sessions are read: no secret
        self._reads: list[float] = []
        self._updates: list[float] = []
        self._attestations: list[float] = []
        self._newest = client.upload(SESSION)

    def fill(self) -> None:
        """Store sessions s1, s2 … until there are `size`."""

        def store(number: int) -> None:
            self._client.upload(SESSION.replace("name: bench", f"name: s{number}"))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(store, range(1, self.size)))

    def measure(self, driver: Path, count: int) -> None:
        """One round of so many requests of each kind."""
        for _ in range(count):
            with timed(self._reads):
                self._client.read(f"s{self._chance.randrange(1, self.size)}")
        for _ in range(count // 3):
            with timed(self._updates):
                self._newest = self._client.upload(f"{SESSION}predecessor: {self._newest}\n")
        self._attestations.append(1000 / rate(driver, self._served["enclave"], ["-n", str(count), "-c", "1"]))

    def figures(self) -> dict[str, float]:
        """Medians, and the memory that the CAS takes now."""
        return {
            "read ms": median(self._reads),
            "update ms": median(self._updates),
            "attest ms": median(self._attestations),
            "memory MiB": memory(int(self._served["pid"])),
        }


def main() -> int:
    """Print a line a size; 1 when a time or the memory grew with the number of sessions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 10_000], help="%(default)s")
    parser.add_argument("-n", type=int, default=300, help="requests of each kind (%(default)s)")
    options = parser.parse_args()
    who = Identity.create(common_name="bench", now=datetime.now(UTC))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        driver = build_client(folder)
        all_measured = []
        for size in options.sizes:
            command = ["-m", "scone_cas", "serve", "--state", str(folder / str(size)), "--rate", "1000000"]
            served = stack.enter_context(serving(command))
            client = connect(served["client"], tolerance=ENOUGH, cas_key=None, connect_to={}, identity=who)
            all_measured.append(Measured(size, client, served))
            all_measured[-1].fill()
        # What was written must not still be on its way to the disk that the requests wait for.
        os.sync()
        for _ in range(ROUNDS):
            for each in all_measured:
                each.measure(driver, options.n // ROUNDS)
        figures = [each.figures() for each in all_measured]
    for size, found in zip(options.sizes, figures, strict=True):
        print(f"{size:6d} sessions   " + "   ".join(f"{name} {value:7.2f}" for name, value in found.items()))
    grown = {name: figures[-1][name] / figures[0][name] for name in figures[0]}
    print("largest to smallest: " + ", ".join(f"{name} {factor:.2f}" for name, factor in grown.items()))
    return 0 if max(grown.values()) <= WANTED else 1


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Add how long it takes, milliseconds."""
    before = time.perf_counter()
    yield
    times.append(1000 * (time.perf_counter() - before))


def memory(pid: int) -> float:
    """Proportional memory of a process and all below it, MiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kibibytes = sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return kibibytes / 1024 + sum(memory(int(child)) for task in tasks for child in task.read_text().split())


if __name__ == "__main__":
    sys.exit(main())
