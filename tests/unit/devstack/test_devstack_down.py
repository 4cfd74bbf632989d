from pathlib import Path

import pytest
from tools.devstack import host, ports, process, teardown
from tools.devstack.__main__ import main
from tools.devstack.paths import Paths

pytestmark = [pytest.mark.long, pytest.mark.cluster]


def test_down_leaves_no_process_mount_interface_or_rule() -> None:
    """After `down` nothing of the stack is left on the machine, and `up` makes it all again."""
    paths = Paths.of()
    assert main(["up"]) == 0
    assert host.chains("iptables")
    try:
        assert main(["down"]) == 0
        assert process.marked(paths.state) == []
        assert teardown.mounts(paths.state) == []
        assert not paths.state.exists()
        assert not [name for name in ("scone0", "cni0") if Path("/sys/class/net", name).exists()]
        assert host.chains("iptables") == host.chains("ip6tables") == []
        assert host.pod_namespaces() == []
        assert host.pod_groups() == host.build_groups() == []
        assert not [port for port in (2379, 5000, 6443, 8081, 10250, 18765) if ports.holder("0.0.0.0", port)]  # noqa: S104 - asks for any address
        assert host.owner() is None
    finally:
        assert main(["up"]) == 0
