#!/usr/bin/env python3
"""A copy of a stack for whoever must not know its secrets: a preview of code that nobody has read yet.

    pulumi stack export --stack prod | without_secrets.py state > state.json   # no passphrase needed
    without_secrets.py config < Pulumi.prod.yaml > Pulumi.preview.yaml

Every secret becomes the same placeholder in both. The package's own keys (image key, identity) are left out: what
depends on them is then unknown in the preview, and nothing can be signed, pushed or decrypted.
"""

import json
import sys
from typing import Any

import yaml

PLACEHOLDER = "not known here"
_SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""By this pair of key and value Pulumi marks a secret in state."""
_KEYS = ("scone:imageKey", "scone:identity")
_PROVIDER = ("encryptionsalt", "encryptedkey", "secretsprovider")


def main(what: str, text: str) -> str:
    """`what` is `state` or `config`; `text` and the answer are the file's content."""
    if what == "state":
        document = json.loads(text)
        # Of the copy's own, by a passphrase that is none: preview-copy.sh puts its salt there.
        document["deployment"]["secrets_providers"] = {"type": "passphrase", "state": {"salt": "SALT OF THE COPY"}}
        return json.dumps(_without(document), indent=1, sort_keys=True)
    settings = yaml.safe_load(text) or {}
    config = settings.get("config") or {}
    return yaml.safe_dump(
        {key: value for key, value in settings.items() if key not in (*_PROVIDER, "config")}
        | {"config": {key: _plain(value) for key, value in config.items() if key not in _KEYS}}
    )


def _without(node: Any) -> Any:  # noqa: ANN401  any JSON
    if isinstance(node, list):
        return [_without(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get(_SECRET[0]) == _SECRET[1]:
        return {_SECRET[0]: _SECRET[1], "plaintext": json.dumps(PLACEHOLDER)}
    return {key: _without(value) for key, value in node.items() if key not in _KEYS}


def _plain(node: Any) -> Any:  # noqa: ANN401  any YAML
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"secure"}:
        return PLACEHOLDER
    return {key: _plain(value) for key, value in node.items()}


if __name__ == "__main__":
    if sys.argv[1:] not in (["state"], ["config"]):
        sys.exit("usage: without_secrets.py state|config < file > copy")
    sys.stdout.write(main(sys.argv[1], sys.stdin.read()))
