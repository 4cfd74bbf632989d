from pathlib import Path

import pytest
from tools.devstack import host, teardown
from tools.devstack.demo import _failure
from tools.devstack.errors import DevstackError
from tools.devstack.gobuild import GO
from tools.devstack.paths import Paths
from tools.devstack.settings import Target
from tools.devstack.stack import check_machine

SAVED = """# Generated
*filter
:INPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:MINE - [0:0]
-A INPUT -p tcp -m comment --comment "to KUBE-FORWARD people" -j ACCEPT
-A INPUT -m comment --comment "kubernetes rules" -j KUBE-FORWARD
-A KUBE-FORWARD -j MINE
-A MINE -j DROP
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:CNI-aaaa - [0:0]
:KUBE-OLD - [0:0]
-A POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"local\\"" -j CNI-aaaa
-A POSTROUTING -j KUBE-OLD
-A CNI-aaaa -d 10.244.0.0/24 -j ACCEPT
COMMIT
"""


def test_only_our_chains_and_jumps_into_them_are_removed() -> None:
    """Rules of the user stay, even where their comment names one of ours; chains that were there before us stay."""
    order = host.removal(SAVED, kept={"KUBE-OLD"})
    assert order.splitlines() == [
        "*filter",
        '-D INPUT -m comment --comment "kubernetes rules" -j KUBE-FORWARD',
        "-F KUBE-FORWARD",
        "-X KUBE-FORWARD",
        "COMMIT",
        "*nat",
        '-D POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"local\\"" -j CNI-aaaa',
        "-F CNI-aaaa",
        "-X CNI-aaaa",
        "COMMIT",
    ]


def test_nothing_of_ours_means_no_order_at_all() -> None:
    """A firewall without our chains is not written to."""
    assert host.removal("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n", kept=set()) == ""
    assert host.removal("", kept=set()) == ""


def test_mount_points_are_read_as_they_are_written() -> None:
    """Blanks in a path come escaped; the escape is undone before anything is unmounted."""
    assert teardown._plain(r"/a\040b/c\134d") == "/a b/c\\d"


def test_mounts_below_a_folder_are_only_those_below_it(tmp_path: Path) -> None:
    """A folder's name as the beginning of another's does not count."""
    assert teardown.mounts(tmp_path) == []
    assert "/proc" in teardown.mounts(__import__("pathlib").Path("/proc"))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"state": {"running": {}}}, ""),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        (
            {"state": {"terminated": {"exitCode": 65, "message": "Attestation failed: x\n", "reason": "Error"}}},
            "exit code 65: Attestation failed: x",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 66, "reason": "Error"}},
            },
            "exit code 66: Error",
        ),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            "ImagePullBackOff: no such image",
        ),
    ],
)
def test_a_pods_failure_is_told_in_its_own_words(status: dict[str, object], words: str) -> None:
    """The demo ends with what the launcher or the kubelet said, and goes on waiting while there is hope."""
    assert _failure({"status": {"containerStatuses": [status]}}) == words


def machine(folder: Path, go: str) -> None:
    """The check of a machine on which this script is Go."""
    (folder / "go").write_text(f"#!/bin/sh\n{go}\n")
    (folder / "go").chmod(0o755)
    environ = {"PATH": str(folder)}
    target = Target(registry="registry.example.com", cas_host="192.0.2.1", context="mine")
    check_machine(Paths.of(environ=environ), target=target, environ=environ)


@pytest.mark.parametrize("found", ["go1.26.7", "go1.26.9", "go1.27.0", "go1.25.1"])
def test_another_go_is_refused_before_anything_is_done(tmp_path: Path, found: str) -> None:
    """The launcher's bytes are measured: a newer Go is as wrong as an older one, and it is said which one is needed."""
    with pytest.raises(DevstackError, match=rf"is {found}, and the launcher is built by {GO} exactly") as refused:
        machine(tmp_path, f"echo {found}")
    assert f"install {GO} and put it first in PATH" in str(refused.value)
    with pytest.raises(DevstackError, match="is no Go that answers"):
        machine(tmp_path, "exit 1")
    machine(tmp_path, f"echo {GO}")


def test_the_go_that_is_asked_for_builds_everything() -> None:
    """It is the one that the launcher's go.mod names, and none of the toolchain's modules wants a newer one."""
    paths = Paths.of()
    assert f"\n{GO.replace('go', 'go ')}\n" in (paths.root / "provider" / "launcher" / "go.mod").read_text()
    ours = [int(part) for part in GO.removeprefix("go").split(".")]
    for module in paths.modules.glob("*/go.mod"):
        (line,) = [line for line in module.read_text().splitlines() if line.startswith("go ")]
        assert [int(part) for part in line.removeprefix("go ").split(".")] <= ours, module
