"""The content of a pull secret: exactly the credentials of the mesh's registries, or what is missing."""

import json
from pathlib import Path

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.kubernetes.pull_secret import docker_config

CONFIG = {
    "auths": {
        "registry.example": {"auth": "dTpw"},
        "https://index.docker.io/v1/": {"auth": "aHVi"},
        "other.example:5000": {"auth": "eDp5"},
        "empty.example": {},
    }
}


@pytest.fixture
def options(tmp_path: Path) -> RegistryOptions:
    """A docker configuration with several registries."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return RegistryOptions(docker_config=path)


def test_only_the_registries_asked_for(options: RegistryOptions) -> None:
    """No other registry's credentials go to the cluster; Docker Hub keeps the name under which kubelets look for it."""
    found = json.loads(docker_config(["registry.example", "docker.io", "registry.example"], options=options))
    assert found == {"auths": {"registry.example": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"auth": "aHVi"}}}


@pytest.mark.parametrize("host", ["nobody.example", "empty.example"])
def test_registry_without_credentials(options: RegistryOptions, host: str) -> None:
    """Said by name, with what to do, and without what is known of others."""
    with pytest.raises(ImageError, match=f"{host}: there are no credentials") as caught:
        docker_config(["registry.example", host], options=options)
    assert "dTpw" not in str(caught.value)
    assert "docker login" in str(caught.value)


def test_unreadable_configuration(tmp_path: Path) -> None:
    """A configuration that is no JSON is an error of ours, without its content."""
    path = tmp_path / "config.json"
    path.write_text("{planted-77")
    with pytest.raises(ImageError, match="the docker configuration cannot be read") as caught:
        docker_config(["registry.example"], options=RegistryOptions(docker_config=path))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("entry", [{"identitytoken": "planted-41"}, {"auth": "dTo=", "identitytoken": "planted-41"}])
def test_a_login_that_a_kubelet_cannot_use(tmp_path: Path, entry: dict[str, str]) -> None:
    """Kubelets know user and password: an identity token is refused with what to do, and no half secret is made."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"acr.example": entry}}))
    with pytest.raises(ImageError, match="a pull secret takes only a user and a password") as caught:
        docker_config(["acr.example"], options=RegistryOptions(docker_config=path))
    assert "registry_credentials" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_login_in_two_fields(tmp_path: Path) -> None:
    """User and password apart give the same secret as both in one."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"registry.example": {"username": "u", "password": "p"}}}))
    found = json.loads(docker_config(["registry.example"], options=RegistryOptions(docker_config=path)))
    assert found == {"auths": {"registry.example": {"auth": "dTpw"}}}
