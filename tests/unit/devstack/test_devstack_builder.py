import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.devstack import buildkit
from tools.devstack.buildrun import Given, amended
from tools.devstack.paths import Paths
from tools.devstack.settings import Target
from tools.devstack.variables import additions, environment, has_builder

PATHS = Paths(root=Path("/p"), cache=Path("/c"))
SPEC = {"process": {"args": ["/bin/sh"], "env": ["PATH=/bin", "PIP_CERT=/own"]}, "mounts": [{"destination": "/proc"}]}
GIVEN = Given(program="/usr/sbin/runc", certificates="/etc/ca.crt", variables={"HTTPS_PROXY": "http://proxy"})
NAMES = st.from_regex(r"[A-Z_]{1,8}", fullmatch=True)


def test_a_step_gets_the_machines_certificates_and_proxy() -> None:
    """They come below /dev, which is no part of an image, and as variables; what the image sets itself stays."""
    made = amended(SPEC, GIVEN)
    assert made["mounts"][0] == {"destination": "/proc"}
    assert made["mounts"][1]["destination"] == "/dev/ca-certificates.crt"
    assert made["mounts"][1]["source"] == "/etc/ca.crt"
    assert "ro" in made["mounts"][1]["options"]
    assert made["process"]["args"] == ["/bin/sh"]
    assert made["process"]["env"] == [
        *("PATH=/bin", "PIP_CERT=/own", "HTTPS_PROXY=http://proxy"),
        *("NODE_EXTRA_CA_CERTS=/dev/ca-certificates.crt", "SSL_CERT_FILE=/dev/ca-certificates.crt"),
    ]


def test_a_machine_without_certificates_adds_no_mount() -> None:
    """Nothing is mounted from a path that does not exist."""
    assert amended(SPEC, Given(program="runc")) == SPEC


@given(own=st.dictionaries(NAMES, st.text()), ours=st.dictionaries(NAMES, st.text()))
def test_a_steps_own_variables_always_win(own: dict[str, str], ours: dict[str, str]) -> None:
    """Every variable of the step is there as it was, every one of ours that is new is there once."""
    spec = {"process": {"env": [f"{name}={value}" for name, value in own.items()]}}
    made = amended(spec, Given(program="runc", variables=ours))["process"]["env"]
    assert dict(entry.split("=", 1) for entry in made) == ours | own
    assert len(made) == len(ours | own)


def test_the_users_way_to_an_index_reaches_the_steps_and_nothing_else_does(tmp_path: Path) -> None:
    """Proxy and index are handed over in a file that only its owner reads; other variables are not."""
    certificates = tmp_path / "own.crt"
    certificates.touch()
    environ = {
        "https_proxy": "http://user:password@proxy",
        "PIP_INDEX_URL": "https://index.example.com",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "SSL_CERT_FILE": str(certificates),
    }
    files = buildkit.settings(PATHS, environ)
    script, mode = files[Path("/p/.devstack/buildkit/runc")]
    assert mode == 0o700
    assert "'https_proxy': 'http://user:password@proxy'" in script
    assert "'PIP_INDEX_URL': 'https://index.example.com'" in script
    assert str(certificates) in script
    assert "hidden" not in "".join(text for text, _ in files.values())
    assert not [path for path, (_, mode) in files.items() if mode & 0o077]
    compile(script, "runc", "exec")


def test_an_edited_setting_starts_buildkit_anew(tmp_path: Path) -> None:
    """The process is out of date when its settings, its program or its proxy are others."""
    paths, program = Paths(root=tmp_path, cache=tmp_path), tmp_path / "buildkitd"
    config = tmp_path / ".devstack" / "buildkit" / "buildkitd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("a")
    first = buildkit.daemon(paths, program=program, environ={}).fingerprint
    assert buildkit.daemon(paths, program=program, environ={"HOME": "/h"}).fingerprint == first
    assert buildkit.daemon(paths, program=program, environ={"HTTP_PROXY": "http://p"}).fingerprint != first
    assert buildkit.daemon(paths, program=tmp_path / "other", environ={}).fingerprint != first
    config.write_text("b")
    assert buildkit.daemon(paths, program=program, environ={}).fingerprint != first


def test_the_builder_leads_to_our_socket() -> None:
    """docker-build finds a remote builder of that name, and finds it by default."""
    files = buildkit.settings(PATHS, {})
    group = json.loads(files[Path("/p/.devstack/buildx/instances/pulumi-scone")][0])
    assert group["Driver"] == "remote"
    assert [node["Endpoint"] for node in group["Nodes"]] == ["unix:///p/.devstack/buildkit/buildkitd.sock"]
    assert json.loads(files[Path("/p/.devstack/buildx/current")][0])["Name"] == group["Name"]


def test_buildkit_listens_on_no_network() -> None:
    """Its socket is a file below a folder of root's alone, and images come from the local registry first."""
    text, _ = buildkit.settings(PATHS, {})[Path("/p/.devstack/buildkit/buildkitd.toml")]
    assert 'address = ["unix:///p/.devstack/buildkit/buildkitd.sock"]' in text
    assert "tcp://" not in text
    assert '[registry."docker.io"]\n  mirrors = ["localhost:5000"]' in text


@pytest.mark.parametrize(("own", "wanted"), [({}, "pulumi-scone"), ({"BUILDX_BUILDER": "mine"}, "mine")])
def test_a_users_own_builder_is_used(own: dict[str, str], wanted: str) -> None:
    """Who names a builder as for buildx keeps it, with the settings where it stands."""
    made = environment(PATHS, environ=own | {"BUILDX_CONFIG": "/home/u/buildx"})
    assert made["BUILDX_BUILDER"] == wanted
    assert has_builder(own) == (wanted == "mine")
    assert (made["BUILDX_CONFIG"] == "/home/u/buildx") == (wanted == "mine")


def test_exports_of_the_stack_do_not_pass_for_the_users_own() -> None:
    """A shell that took our exports over gets the same ones again; a user's cluster gets none."""
    first = additions(PATHS, environ={})
    assert additions(PATHS, environ=first) == first
    named = additions(PATHS, target=Target(context="c", registry="r", cas_host="h"))
    assert not {"BUILDX_BUILDER", "BUILDX_CONFIG"} & set(named)
