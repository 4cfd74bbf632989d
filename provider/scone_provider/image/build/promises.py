"""Judges what a manifest says of single paths (`fs_dirs`, `plains`, …) against what will lie there. Pure.

Everything in an image is verified unless it is named in `plains`, `plain_files`, `host_paths` or `volumes`. So
`fs_dirs` and `fs_files` are promises that can be checked: such a path exists, and nothing takes its protection away.
"""

from collections.abc import Mapping

from scone_provider.image.base.locked_base import Binary
from scone_provider.image.build.inputs import ImageInputs, refusal, within
from scone_provider.image.build.layout import Layout
from scone_provider.image.protection.protection_file import belongs_to_runtime

_VERIFIED = (("fs_dirs", "directory"), ("fs_files", "file"))
_UNPROTECTED = (("plains", "directory"), ("plain_files", "file"), ("host_paths", ""))


def check_promises(
    inputs: ImageInputs, layout: Layout, *, base: Mapping[str, str], measured: Binary
) -> tuple[str, ...]:
    """Notes for people. Raises ImageError for a promise that this layout on this base (`LockedBase.paths`) breaks."""
    judge = _Judge(inputs, layout, base)
    for key, kind in _VERIFIED:
        for path in getattr(inputs, key):
            judge.verified(key, path, kind)
    for key, kind in _UNPROTECTED:
        for path in getattr(inputs, key):
            judge.unprotected(key, path, kind, measured)
    return tuple(judge.notes)


class _Judge:
    def __init__(self, inputs: ImageInputs, layout: Layout, base: Mapping[str, str]) -> None:
        self._inputs, self._layout, self._base = inputs, layout, base
        self.notes: list[str] = []

    def verified(self, key: str, path: str, kind: str) -> None:
        for taking, paths in (("volumes", self._inputs.volumes), ("an unprotected path", self._inputs.unprotected)):
            if hole := within(path, paths):
                raise refusal(self._inputs, key, path, f"is to be verified, but lies within {taking}: {hole}")
        if folder := within(path, tuple(self._layout.encrypted)):
            self.notes.append(f"{key}: {path} lies in {folder}, which is encrypted: that protects it too")
            return
        self._exists(key, path, kind)

    def unprotected(self, key: str, path: str, kind: str, measured: Binary) -> None:
        if belongs_to_runtime(path):
            return
        if folder := within(path, tuple(self._layout.encrypted)):
            raise refusal(
                self._inputs, key, path, f"lies in {folder}, which is encrypted",
                fix="name the whole folder, or copy these files to another one",
            )  # fmt: skip
        inner = [folder for folder in self._layout.encrypted if within(folder, (path,))]
        inner += [program for program in (measured.path, measured.loader) if program and within(program, (path,))]
        if inner:
            raise refusal(self._inputs, key, path, f"holds {inner[0]}, which must be protected")
        self._exists(key, path, kind)
        self.notes.append(f"{key}: nobody notices when {path} is changed in the registry or on the node")

    def _exists(self, key: str, path: str, kind: str) -> None:
        found = self._kind(path)
        if found == "absent":
            raise refusal(self._inputs, key, path, "is not in the image", fix="correct the path, or bring it by `copy`")
        if found.startswith("link "):
            raise refusal(
                self._inputs, key, path, f"is a link ({found.removeprefix('link ')})", fix="name the real path"
            )
        if kind and found not in {kind, "empty" if kind == "directory" else kind}:
            raise refusal(self._inputs, key, path, f"is no {kind}", fix=f"it is a {found}: use the key that fits")

    def _kind(self, path: str) -> str:
        if path in self._layout.files:
            return "file"
        if path in self._layout.links:
            return f"link {self._layout.links[path]}"
        if path in self._layout.directories:
            return "directory"
        return self._base.get(path, "absent")
