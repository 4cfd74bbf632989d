"""Templates in the image's own files: who fills them in gets the secrets that the policy provides, and no others."""

import base64
import json
from typing import Any

import pytest

from support.enclave_side import EnclaveSide
from support.software_enclave import MEASUREMENT

SECRETS = [
    {"name": "password", "kind": "ascii", "value": "hush"},
    {"name": "raw", "kind": "binary", "value": "00ff"},
]


@pytest.fixture
def attest(cas, person):
    """What a service gets whose image has these keys."""

    def ask(image: dict[str, Any], accepts: list[str], secrets: list[dict[str, Any]] = SECRETS) -> dict[str, Any]:
        service = {"name": "main", "command": "run", "image_name": "i", "attestation": {"mrenclave": MEASUREMENT}}
        session = {
            "name": "app",
            "version": "0.3.12",
            "services": [service],
            "images": [{"name": "i", **image}],
            "secrets": secrets,
            "security": {"attestation": {"tolerate": ["debug-mode"]}},
        }
        before = cas.sessions.live("app")
        cas.upload(json.dumps(session | ({"predecessor": before.hash} if before else {})), person("ann"))
        found: dict[str, Any] = EnclaveSide(cas).attest("app/main", accepts=accepts)[1]
        return found

    return ask


def values(found: dict[str, Any]) -> dict[str, bytes]:
    """The values in an answer."""
    return {form: base64.b64decode(value) for form, value in found["templates"]["values"].items()}


def test_templates_get_every_form(attest) -> None:
    """The template's path and mode, and each secret as each of its placeholders would read."""
    image = {
        "injection_files": ["/b", {"path": "/a", "permission": "0o400"}, {"path": "/c", "content": "$$SCONE::raw$$"}]
    }
    found = attest(image, ["templates"])
    assert found["templates"]["files"] == [{"path": "/a", "mode": 0o400}, {"path": "/b", "mode": 0o700}]
    assert values(found) == {
        "password": b"hush",
        "raw": b"\x00\xff",
        "raw:bin": b"\x00\xff",
        "raw:hex": b"00ff",
        "raw:base64": b"AP8=",
        "raw:base64url": b"AP8=",
        "raw:base32": b"AD7Q====",
        "raw:base32nopad": b"AD7Q",
    }
    assert [file["path"] for file in found["files"]] == ["/c"]


@pytest.mark.parametrize(
    ("provided", "names"), [([], set()), (["password"], {"password"}), (None, {"password", "raw"})]
)
def test_provided_secrets_alone(attest, provided: list[str] | None, names: set[str]) -> None:
    """What `provide_secrets` does not name is not there; inline content is filled in whatever it names."""
    files = ["/template", {"path": "/inline", "content": "$$SCONE::password$$"}]
    found = attest({"injection_files": files, "provide_secrets": provided}, ["templates"])
    assert {form.partition(":")[0] for form in values(found)} == names
    assert base64.b64decode(found["files"][0]["content"]) == b"hush"


def test_without_templates_nothing_more_is_delivered(attest) -> None:
    """A service whose files all have content gets no secret that it does not name."""
    image = {"injection_files": [{"path": "/inline", "content": "x"}]}
    assert attest(image, ["templates"])["templates"] is None
    assert "templates" not in attest(image, [])


def test_the_launcher_is_refused(attest) -> None:
    """Who cannot fill templates in is told so, and gets nothing."""
    assert attest({"injection_files": ["/template"]}, ["volumes"]) == {
        "code": "templates_unsupported",
        "message": "the policy has secrets put into files of the image, which this launcher cannot",
    }
