import itertools
from pathlib import Path

import pytest
from tools.devstack import environment
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.settings import Target, target
from tools.devstack.variables import additions, prepare

WHOLE = {"KUBE_CONTEXT": "mine", "REGISTRY": "registry.example.com:5000/team", "CAS_HOST": "192.0.2.7"}
PATHS = Paths(root=Path("/p"), cache=Path("/c"))
NAMED = Target(context="mine", registry="r", cas_host="h")


def test_nothing_given_means_the_local_cluster() -> None:
    """A user who names nothing gets a cluster of our own; empty values count as not given."""
    assert not target({}).named
    assert not target(dict.fromkeys(WHOLE, " ")).named


def test_all_three_name_a_cluster() -> None:
    """The three variables together are taken as they are."""
    assert target(WHOLE) == Target(context="mine", registry="registry.example.com:5000/team", cas_host="192.0.2.7")


@pytest.mark.parametrize("given", [set(names) for size in (1, 2) for names in itertools.combinations(WHOLE, size)])
def test_a_part_of_the_three_is_refused_by_name(given: set[str]) -> None:
    """A cluster is never touched on half an address: the error names what is missing."""
    with pytest.raises(DevstackError) as caught:
        target({name: WHOLE[name] for name in given})
    for name in set(WHOLE) - given:
        assert name in caught.value.what


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGISTRY", "https://registry.example.com"),
        ("REGISTRY", "a b"),
        ("CAS_HOST", "http://cas:8081"),
        ("CAS_HOST", "-x;y"),
    ],
)
def test_malformed_addresses_are_refused(name: str, value: str) -> None:
    """A scheme or a blank in an address is said at once and not by whoever uses it last."""
    with pytest.raises(DevstackError, match=name):
        target(WHOLE | {name: value})


def test_the_environment_is_ours_and_keeps_the_users_out() -> None:
    """A user's backend, token, stack, identity and cluster never reach the demo or a test."""
    foreign = {
        "PULUMI_ACCESS_TOKEN": "t",
        "PULUMI_STACK": "prod",
        "PULUMI_CONFIG_PASSPHRASE": "p",
        "SCONE_IDENTITY": "i",
        "KUBECONFIG": "/prod",
        "KUBE_CONTEXT": "c",
    }
    made = environment(PATHS, environ=foreign | {"HOME": "/home/u", "PATH": "/usr/bin"})
    assert not set(foreign) - {"KUBECONFIG"} & set(made)
    assert made["KUBECONFIG"] == "/p/.devstack/admin.kubeconfig"
    assert made["PATH"] == "/p/.venv/bin:/p/.devstack/bin:/usr/bin"
    assert made["HOME"] == "/home/u"


def test_a_work_folder_separates_stacks_but_shares_plugins(tmp_path: Path) -> None:
    """Two works have two backends and passphrases and one PULUMI_HOME."""
    one, two = (additions(PATHS, work=tmp_path / name) for name in ("one", "two"))
    assert one["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/one/backend"
    assert one["PULUMI_BACKEND_URL"] != two["PULUMI_BACKEND_URL"]
    assert one["PULUMI_CONFIG_PASSPHRASE_FILE"] != two["PULUMI_CONFIG_PASSPHRASE_FILE"]
    assert one["PULUMI_HOME"] == two["PULUMI_HOME"]


def test_a_named_cluster_has_its_own_state_and_no_mirror() -> None:
    """What is deployed on a user's cluster is kept apart from the local demo, and images come from where they say."""
    local, named = additions(PATHS), additions(PATHS, target=NAMED)
    assert local["PULUMI_BACKEND_URL"] != named["PULUMI_BACKEND_URL"]
    assert local["KUBECONFIG"] != named["KUBECONFIG"]
    assert local["PULUMI_SCONE_REGISTRY_MIRRORS"] == "docker.io=localhost:5000"
    assert "PULUMI_SCONE_REGISTRY_MIRRORS" not in named


def test_the_passphrase_is_made_once_and_private(tmp_path: Path) -> None:
    """A second run keeps the passphrase under which the state is encrypted, and only its owner reads it."""
    prepare(tmp_path)
    first = (tmp_path / "passphrase").read_text()
    prepare(tmp_path)
    assert (tmp_path / "passphrase").read_text() == first
    assert len(first) >= 32
    assert (tmp_path / "passphrase").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backend").is_dir()


def test_the_cache_follows_the_users_setting() -> None:
    """XDG_CACHE_HOME wins over the home folder."""
    assert Paths.of(environ={"XDG_CACHE_HOME": "/x", "HOME": "/h"}).cache == Path("/x/pulumi-scone")
    assert Paths.of(environ={"HOME": "/h"}).cache == Path("/h/.cache/pulumi-scone")
