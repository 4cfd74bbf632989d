"""A session with secrets and one service that receives each asked-for form of them as a file of its own."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from support.software_enclave import MEASUREMENT

SERVICE = "main"


def secret_session(
    secrets: Mapping[str, Any],
    forms: Sequence[str] = (),
    *,
    name: str = "app",
    predecessor: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The description, as JSON: `forms` are the insides of placeholders, such as `key:pem`."""
    found: dict[str, Any] = {
        "name": name,
        "version": "0.3.12",
        "secrets": [{"name": key, **secret} for key, secret in secrets.items()],
        "services": [
            {
                "name": SERVICE,
                "image_name": "files",
                "command": "prog",
                "environment": dict(environment or {}),
                "attestation": [{"mrenclave": MEASUREMENT}, {"mrenclave": "cd" * 32}],
            }
        ],
        "images": [
            {
                "name": "files",
                "injection_files": [{"path": f"/{form}", "content": f"$$SCONE::{form}$$"} for form in forms],
            }
        ],
        "security": {"attestation": {"tolerate": ["debug-mode"]}},
    }
    return json.dumps(found | ({"predecessor": predecessor} if predecessor else {}))


def received(cas: Any, name: str = "app", **changes: object) -> dict[str, bytes]:
    """Form → bytes, as the attested service receives them."""
    status, found = cas.attest(f"{name}/{SERVICE}", **changes)
    assert status == 200, found
    return {file["path"][1:]: base64.b64decode(file["content"]) for file in found["files"]}
