"""What a service manifest's build keys become as inputs of its image."""

from typing import Any

import pytest

from scone_provider.derive.image import encrypted_paths, image_inputs
from scone_provider.manifest import ServiceManifest, load_service

BUILD = {"name": "api", "kind": "python", "to": "r.test/team/api:1", "command": "python3 api.py", "pwd": "/app"}


def manifest(**build: Any) -> ServiceManifest:
    """A manifest with these build keys."""
    content = {"build": BUILD | build, "environment": {"local": [{"name": "TOKEN", "value": "planted-1"}]}}
    return load_service(content, file="m.yaml")


def inputs(**build: Any) -> dict[str, Any]:
    """Its image's inputs."""
    environment = {"SCONE_HEAP": "64M", "SCONE_LOG": "info"}
    return image_inputs(manifest(**build), folder=".", environment=environment, identity="team/api")


def test_keys_that_are_not_named_are_no_inputs() -> None:
    """An image whose manifest says nothing new has the inputs that earlier versions gave it: no difference appears."""
    assert set(inputs(copy=["api.py"])) == {
        *("name", "identity", "to", "from", "command", "folder", "copy", "dirs", "injected", "environment", "pwd"),
        *("where", "document"),
    }


def test_every_key_is_an_input_in_absolute_paths() -> None:
    """Paths are the image's; a relative one lies below `pwd`, as what `copy` brings does."""
    found = inputs(
        fs_dirs=["/usr/lib/x/"],
        fs_files=["static/a.css"],
        plains=["cache"],
        plain_files=["/etc/motd"],
        host_paths=["/etc/resolv.conf"],
        binaries=["python3"],
        volumes=[{"name": "data", "path": "/var/data/"}, {"path": "/scratch"}],
        signature={"sign": True, "key": "keys/sign.pem"},
    )
    assert {key: list(found[key]) for key in ("fs_dirs", "fs_files", "plains", "plain_files", "host_paths")} == {
        "fs_dirs": ["/usr/lib/x"],
        "fs_files": ["/app/static/a.css"],
        "plains": ["/app/cache"],
        "plain_files": ["/etc/motd"],
        "host_paths": ["/etc/resolv.conf"],
    }
    assert list(found["binaries"]) == ["python3"]
    assert list(found["volumes"]) == ["/var/data", "/scratch"]
    assert found["signature"] == {"sign": True, "key": "keys/sign.pem"}
    assert found["where"]["plains /app/cache"] == "m.yaml: build.plains[0]"


def test_volumes_are_mount_points() -> None:
    """An image has a directory for each, named or not, in the one spelling of its path; errors find its line."""
    found = inputs(volumes=[{"name": "data", "path": "/var/data/"}, {"path": "/scratch"}])
    assert found["volumes"] == {"/var/data": True, "/scratch": True}
    assert found["where"]["volumes /scratch"].endswith("build.volumes[1]")


@pytest.mark.parametrize(
    ("build", "encrypted"),
    [
        ({}, ()),
        ({"copy": ["api.py"]}, ("/app",)),
        ({"copy": ["api.py"], "dirs": ["models", "/app2", "/data/"]}, ("/app", "/app2", "/data")),
        ({"copy": ["api.py"], "fs_dirs": ["/app"]}, ()),
        ({"copy": ["api.py"], "fs_dirs": ["."]}, ()),
        ({"copy": ["api.py"], "plains": ["/app/"]}, ()),
        ({"copy": ["api.py"], "fs_dirs": ["/app"], "dirs": ["/app/secret"]}, ("/app/secret",)),
        ({"copy": ["api.py"], "fs_dirs": ["static"]}, ("/app",)),
        ({"copy": ["api.py"], "kind": "sconify_image"}, ()),
        ({"copy": ["api.py"], "kind": "sconify_image", "dirs": ["/app"]}, ("/app",)),
    ],
)
def test_what_is_encrypted(build: dict[str, Any], encrypted: tuple[str, ...]) -> None:
    """`dirs`, and for Python the folder that `copy` fills unless it is to be clear; each with all that is in it."""
    assert encrypted_paths(manifest(**build)) == encrypted


def test_native_stage_and_base() -> None:
    """`run` and `requirements` are the native stage's; a wrapped image has no base but the one that is named."""
    assert inputs(run=["true"], requirements="r.txt")["native"] == {"run": ("true",), "requirements": "r.txt"}
    assert "native" not in inputs()
    assert inputs()["from"] == "python:3.11-slim"
    assert "from" not in inputs(kind="sconify_image")
    assert inputs(kind="sconify_image", **{"from": "redis:7"})["from"] == "redis:7"
    assert inputs(kind="sconify_image")["kind"] == "sconify_image"


def test_a_foreign_builder_gets_no_secret() -> None:
    """It is given the build section and the container's variables, not what the service's policy delivers."""
    document = inputs(copy=["api.py"])["document"]
    assert document == {
        "apiVersion": "scone/5.8",
        "kind": "genservice",
        "build": {**BUILD, "copy": ["api.py"]},
        "environment": {
            "local": [{"name": "SCONE_HEAP", "value": "64M"}, {"name": "SCONE_LOG", "value": "info"}],
        },
    }


def test_unknown_keys_are_answered_with_the_right_ones() -> None:
    """A misspelt key names the one that was meant; another one all that there are."""
    content: dict[str, Any] = {"build": {**BUILD, "requirments": "r.txt"}, "environment": {}}
    with pytest.raises(Exception, match=r"unknown key\n  → Did you mean requirements\?"):
        load_service(content, file="m.yaml")
    content = {"build": {**BUILD, "signature": {"zonk": 1}}, "environment": {}}
    with pytest.raises(Exception, match=r"unknown key\n  → Known here are key, sign\."):
        load_service(content, file="m.yaml")
