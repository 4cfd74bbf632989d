"""Logins as Docker and podman leave them: files, keys, helpers, and which of them counts."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.registry.credentials import HUB_KEY, Credentials, CredentialStore

HOST = "registry.example"


def auth(user: str) -> dict[str, str]:
    """An entry of `auths`."""
    return {"auth": base64.b64encode(f"{user}:pw".encode()).decode()}


def write(path: Path, content: dict[str, Any]) -> Path:
    """A configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def helper(folder: Path, name: str, script: str) -> None:
    """A credential helper on PATH."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("files", "variables", "user"),
    [
        ([".docker/config.json"], {}, ".docker/config.json"),
        ([".docker/config.json", "other/config.json"], {"DOCKER_CONFIG": "other"}, "other/config.json"),
        (["run/containers/auth.json"], {"XDG_RUNTIME_DIR": "run"}, "run/containers/auth.json"),
        ([".config/containers/auth.json"], {}, ".config/containers/auth.json"),
        ([".docker/config.json", "run/containers/auth.json"], {"XDG_RUNTIME_DIR": "run"}, ".docker/config.json"),
        ([".docker/config.json", "named.json"], {"REGISTRY_AUTH_FILE": "named.json"}, "named.json"),
        ([], {}, None),
    ],
)
def test_files(tmp_path: Path, files: list[str], variables: dict[str, str], user: str | None) -> None:
    """Docker's file and podman's are found where their variables say, a file that is named outright first."""
    for file in files:
        write(tmp_path / file, {"auths": {HOST: auth(file)}})
    environ = {"HOME": str(tmp_path), **{name: str(tmp_path / path) for name, path in variables.items()}}
    found = CredentialStore(environ=environ).find(HOST)
    assert (found.username if found else None) == user


def test_the_configuration_in_a_variable(tmp_path: Path) -> None:
    """DOCKER_AUTH_CONFIG holds the text itself, as runners give it."""
    text = json.dumps({"auths": {HOST: auth("runner")}})
    found = CredentialStore(environ={"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": text}).find(HOST)
    assert found is not None
    assert found.username == "runner"


@pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "index.docker.io/v1/", "https://registry-1.docker.io"])
def test_docker_hub_has_many_names(tmp_path: Path, key: str) -> None:
    """Whatever name its login stands under."""
    assert CredentialStore(write(tmp_path / "c", {"auths": {key: auth("hub")}})).find("docker.io")


def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own helper comes before the store, the store before the file; each is asked for the right name."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    helper(tmp_path, "own", 'read -r s; echo "{\\"Username\\":\\"own\\",\\"Secret\\":\\"$s\\"}"')
    helper(tmp_path, "all", 'read -r s; echo "{\\"Username\\":\\"all\\",\\"Secret\\":\\"$s\\"}"')
    content = {
        "auths": {HOST: auth("file")},
        "credHelpers": {f"https://{HOST}/v2/": "own"},
        "credsStore": "all",
    }
    store = CredentialStore(write(tmp_path / "c", content))
    assert store.find(HOST) == Credentials(username="own", password=HOST)
    assert store.find("docker.io") == Credentials(username="all", password=HUB_KEY)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", None),
        ("echo planted-secret; echo planted-secret >&2; exit 3", "failed"),
        ("echo planted-secret", "no answer that can be read"),
        ("echo '[1]'", "no answer that can be read"),
        (None, "not on PATH"),
    ],
)
def test_helpers_that_give_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, problem: str | None
) -> None:
    """The file counts then; why the helper gave nothing is kept for an error, without what it said."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if script:
        helper(tmp_path, "broken", script)
    content = {"auths": {HOST: auth("file")}, "credsStore": "broken"}
    store = CredentialStore(write(tmp_path / "c", content))
    found = store.find(HOST)
    assert found is not None
    assert found.username == "file"
    assert problem is None or problem in store.problems[0]
    assert "planted" not in str(store.problems)
    assert len(store.problems) == (0 if problem is None else 1)


def test_a_helper_with_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`<token>` as the user's name says that the secret is one."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    helper(tmp_path, "acr", 'echo \'{"Username":"<token>","Secret":"t0ken"}\'')
    found = CredentialStore(write(tmp_path / "c", {"credsStore": "acr"})).find(HOST)
    assert found == Credentials(identity_token="t0ken")
    assert found.basic is None
    assert "t0ken" not in repr(found)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"auths": 5}', '{"auths": {"H": 5}}', '{"auths": {"H": {"auth": "%"}}}', '{"credsStore": 1}',
     '{"auths": {"H": {"username": 1}}}', "[" * 100_000],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    """The file, and nothing of what it holds."""
    path = tmp_path / "config.json"
    path.write_text(content.replace("H", HOST))
    with pytest.raises(ImageError, match="the docker configuration cannot be read") as caught:
        CredentialStore(path).find(HOST)
    assert caught.value.where == str(path)


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    """An error of ours, with the path."""
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ImageError, match="the docker configuration cannot be read"):
        CredentialStore(tmp_path / "config.json").find(HOST)
