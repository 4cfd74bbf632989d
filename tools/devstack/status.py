"""What of the stack is up, for a person."""

from collections.abc import Iterator

from tools.devstack import host
from tools.devstack.paths import Paths
from tools.devstack.process import Supervisor


def lines(paths: Paths) -> Iterator[str]:
    """One line per process that was started, and what stands beside them."""
    supervisor = Supervisor(state=paths.state, run=paths.run, log=paths.log)
    records = supervisor.records()
    for record in records:
        state = f"runs, pid {record.pid}" if supervisor.alive(record.name) else "IS DOWN"
        yield f"{record.name:14} {state:22} {supervisor.log_of(record.name)}"
    if not records:
        yield "nothing of this checkout's stack runs (make demo sets it up)"
    holder = host.owner()
    if holder and holder != paths.state:
        yield f"the stack of {holder.parent} holds this machine"
    cached = sorted(part.name for part in (paths.cache / "toolchain").glob("*-*") if part.suffix != ".part")
    yield f"toolchain in {paths.cache / 'toolchain'}: {', '.join(cached) or 'nothing yet'}"
    if paths.kubeconfig.exists():
        yield f"kubeconfig: {paths.kubeconfig} (python3 -m tools.devstack env prints exports for a shell)"
