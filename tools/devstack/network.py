"""The bridge of our own whose address this machine and the pods share."""

import json
from pathlib import Path

from tools.devstack.paths import NODE_ADDRESS
from tools.devstack.steps import Job

BRIDGE = "scone0"
POD_BRIDGE = "cni0"


def is_ready(job: Job) -> bool:
    """Whether the bridge is up and has its address."""
    if not Path("/sys/class/net", BRIDGE).exists():
        return False
    answer = json.loads(job.command("ip", "-json", "address", "show", "dev", BRIDGE))
    return any(
        address.get("local") == NODE_ADDRESS for link in answer for address in link.get("addr_info", ())
    ) and "UP" in answer[0].get("flags", ())


def make(job: Job) -> None:
    """Make the bridge."""
    if not Path("/sys/class/net", BRIDGE).exists():
        job.command("ip", "link", "add", BRIDGE, "type", "bridge")
    job.command("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", BRIDGE)
    job.command("ip", "link", "set", BRIDGE, "up")
