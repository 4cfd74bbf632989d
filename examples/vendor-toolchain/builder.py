"""A builder command around `sconectl` and `docker` (docs/vendor-toolchain.md). UNTRIED: it shows the shape of one."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

KEY_FOLDER = pathlib.Path.home() / ".cas" / "image-keys"


def main() -> int:
    """Answer one question."""
    request = json.load(sys.stdin)
    answer = {"build": build, "measure": measure}[request["operation"]](request)
    json.dump({"version": 1, **answer}, sys.stdout)
    return 0


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Has sconectl build and push, in the manifest's folder; JSON is YAML too."""
    manifest = request["manifest"]
    if request["native_image"]:
        manifest["build"]["from"] = request["native_image"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=request["folder"]) as file:
        json.dump(manifest, file)
        file.flush()
        # The manifest names requirements and signing key, too; their paths are relative to this folder.
        run("sconectl", "apply", "-f", file.name, folder=request["folder"])
    run("docker", "push", request["to"])
    image = run("docker", "inspect", "--format", "{{index .RepoDigests 0}}", request["to"]).strip()
    # The toolchain prints tag and key of the encrypted file system: "… tag: <hex> key: <hex>".
    keytag = run("docker", "run", "--rm", "--entrypoint", "cat", image, "/image.keytag")
    tag, key = re.findall(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{64}\b", keytag)[:2]
    KEY_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file = KEY_FOLDER / image.rpartition(":")[2]
    key_file.touch(mode=0o600)
    key_file.write_text(key, encoding="ascii")
    return {"image": image, "fspf_tag": tag, "fspf_key": {"file": str(key_file)}}  # measured by `measure`


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """A SCONE binary that is started with SCONE_HASH=1 prints its measurement and ends."""
    variables = request["manifest"]["environment"]["local"]
    options = [part for one in variables for part in ("-e", f"{one['name']}={one['value']}")]
    printed = run("docker", "run", "--rm", "-e", "SCONE_HASH=1", *options, request["image"])
    return {"mrenclave": re.findall(r"\b[0-9a-f]{64}\b", printed)[-1]}


def run(*command: str, folder: str | None = None) -> str:
    """A program's output; what it writes to standard error is progress."""
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
