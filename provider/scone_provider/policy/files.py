"""Policies as files of a project: for modes in which a person carries them to CAS."""

import os
import tempfile
from pathlib import Path

from scone_provider.errors import DeployError
from scone_provider.file_errors import file_errors

FOLDER = ".pulumi-scone/policies"
"""Where they stand, relative to the program; git-ignored, readable by their owner only."""

_SUFFIX = {"NoUpload": "yaml", "EncryptedOnly": "json"}


def policy_file(name: str, *, mode: str, cas: str) -> str | None:
    """The path, relative to the program, of the policy `name` for the CAS `cas`; None for modes without files."""
    suffix = _SUFFIX.get(mode)
    return None if suffix is None else f"{FOLDER}/{cas}/{name.replace('/', '+')}.{suffix}"


def write_policy(path: Path, text: str) -> None:
    """Write the file whole or not at all, for its owner only. Raises DeployError."""
    with file_errors("the policy cannot be written", where=path, kind=DeployError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ignore = Path(FOLDER).parent / ".gitignore"
        if path.is_relative_to(ignore.parent) and not ignore.exists():
            ignore.write_text("*\n")
        handle, new = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(new).replace(path)


def remove_policy(path: Path, text: str) -> bool:
    """Remove the file, if it is there and says `text`; False when it says something else. Raises DeployError."""
    with file_errors("the policy cannot be removed", where=path, fix="remove it", kind=DeployError):
        try:
            if path.read_bytes() != text.encode():
                return False
        except FileNotFoundError:
            return True
        path.unlink(missing_ok=True)
    return True
