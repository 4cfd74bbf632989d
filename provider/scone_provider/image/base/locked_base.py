"""A base image, locked: everything that a prediction needs to know of it, small enough to live in Pulumi inputs."""

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from scone_provider.errors import ImageError
from scone_provider.image.base import elf
from scone_provider.image.oci.reference import Reference, is_digest, parse_reference
from scone_provider.image.oci.tree import Member, Node, Tree, normalise
from scone_provider.image.protection.protection_file import Entry

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_REFRESH = "refresh the base (`refresh_base`), so that it is looked at and locked anew"


@dataclass(frozen=True, kw_only=True)
class Binary:
    """The program that a command starts. Paths in the image, digests SHA-256 in hex; no loader: both texts empty."""

    path: str
    sha256: str
    loader: str
    loader_sha256: str


@dataclass(frozen=True, kw_only=True)
class ProtectionPart:
    """The base's part of the protection: `digest` (hex) and `size` of `base.json`, and those of its layer."""

    digest: str
    size: int
    layer_digest: str
    layer_size: int


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """A layer of the base."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class LockedBase:
    """A base by digest. `manifest` and `config` are the registry's own bytes, as text.

    `reference` is as asked, `repository` (`docker.io/library/python`) where that was found. `binaries` are known by the
    program's name in the command. `paths` says of the paths that a service wants to use, and of their parents, what
    the base has there: `absent`, `empty` (a directory), `directory`, `file`, `other`, or `link <target>`.
    """

    reference: str
    repository: str
    digest: str
    media_type: str
    manifest: str
    config: str
    protection: ProtectionPart
    binaries: Mapping[str, Binary]
    paths: Mapping[str, str]

    def to_dict(self) -> dict[str, object]:
        """Strings, integers and maps only."""
        return {
            "reference": self.reference,
            "repository": self.repository,
            "digest": self.digest,
            "media_type": self.media_type,
            "manifest": self.manifest,
            "config": self.config,
            "protection": dict(vars(self.protection)),
            "binaries": {name: dict(vars(binary)) for name, binary in sorted(self.binaries.items())},
            "paths": dict(sorted(self.paths.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LockedBase":
        """The inverse of `to_dict`, also after numbers became floats. Raises ImageError when anything does not fit."""
        try:
            part = dict(data["protection"])
            base = cls(
                protection=ProtectionPart(
                    digest=_text(part.pop("digest")),
                    size=_size(part.pop("size")),
                    layer_digest=_text(part.pop("layer_digest")),
                    layer_size=_size(part.pop("layer_size")),
                    **part,
                ),
                binaries={
                    _text(name): Binary(**{key: _text(value) for key, value in binary.items()})
                    for name, binary in data["binaries"].items()
                },
                paths={_text(path): _text(kind) for path, kind in data["paths"].items()},
                **{key: _text(data[key]) for key in _TEXTS},
            )
            base.verify()
        except (KeyError, TypeError, ValueError, AttributeError, ImageError):
            raise ImageError("what is remembered of the base is damaged", where="base", fix=_REFRESH) from None
        return base

    def verify(self) -> None:
        """Raises ValueError or ImageError unless manifest, config and repository are those of the digest."""
        if self.source.name != self.repository:
            raise ValueError
        check_configuration(self.configuration)
        manifest = json.loads(self.manifest)
        if f"sha256:{_sha256(self.manifest)}" != self.digest or not is_digest(self.protection.layer_digest):
            raise ValueError
        if manifest["config"]["digest"] != f"sha256:{_sha256(self.config)}" or len(self.layers) != len(self.diff_ids):
            raise ValueError

    @property
    def source(self) -> Reference:
        """Where the base is read from, by digest."""
        return parse_reference(f"{self.repository}@{self.digest}")

    @property
    def configuration(self) -> dict[str, Any]:
        """The image configuration, parsed."""
        parsed: dict[str, Any] = json.loads(self.config)
        return parsed

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The base's layers, lowest first."""
        return layers_of(json.loads(self.manifest))

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the layers' tar archives, lowest first."""
        return diff_ids_of(self.configuration)

    @property
    def search_path(self) -> str:
        """`PATH` of the base: where a command's program is looked up, and what a policy should deliver."""
        return search_path_of(self.configuration)

    def knows(self, *, program: str, paths: Iterable[str], binaries: Iterable[str] = ()) -> bool:
        """True when a prediction for these programs and absolute paths needs no look into the base."""
        return {program, *binaries} <= self.binaries.keys() and all(path in self.paths for path in paths)


_TEXTS = ("reference", "repository", "digest", "media_type", "manifest", "config")


def layers_of(manifest: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """The layers of a parsed manifest. Raises ValueError, KeyError or TypeError for a wrong shape."""
    return tuple(
        Descriptor(
            media_type=_text(layer["mediaType"]),
            digest=_digest(layer["digest"]),
            size=_size(layer["size"]),
        )
        for layer in manifest["layers"]
    )


def diff_ids_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`rootfs.diff_ids` of a parsed configuration. Raises ValueError, KeyError or TypeError for a wrong shape."""
    return tuple(_digest(diff) for diff in config["rootfs"]["diff_ids"])


def check_configuration(config: Mapping[str, Any]) -> None:
    """Raises ValueError unless the parts of a parsed configuration that are used have their documented types."""
    inner, history = config.get("config"), config.get("history")
    if not isinstance(inner, dict | None) or not isinstance(history, list | None):
        raise ValueError  # noqa: TRY004  one kind of error for every wrong shape
    inner = inner or {}
    shapes = {"Env": list, "ExposedPorts": dict, "Labels": dict, "StopSignal": str, "User": str}
    fits = all(isinstance(inner.get(key), kind | None) for key, kind in shapes.items())
    if not fits:
        raise ValueError
    texts = [*(inner.get("Env") or []), *(inner.get("Labels") or {}).values()]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError


def search_path_of(config: Mapping[str, Any]) -> str:
    """`PATH` of a parsed configuration, or the default of docs/enclave-protocol.md."""
    for variable in (config.get("config") or {}).get("Env") or []:
        name, _, value = str(variable).partition("=")
        if name == "PATH" and value:
            return value
    return DEFAULT_PATH


def tree_of(entries: Mapping[str, Entry], programs: Mapping[str, str]) -> Tree:
    """The file system that `base.json` lists, as a tree; `programs` is what `elf.inspect` said, by path."""
    tree = Tree()
    tree.apply(
        Member(
            parts=normalise(path),
            kind=kind,  # type: ignore[arg-type]
            mode=mode,
            size=size,
            digest=detail if kind == "f" else "",
            target=detail if kind == "l" else "",
            program=programs.get(path, ""),
        )
        for path, (kind, mode, size, detail) in sorted(entries.items())
    )
    return tree


def find_program(tree: Tree, program: str, *, search_path: str) -> Binary:
    """The binary behind the first word of a command, looked up as the launcher does it. Raises ImageError."""
    where = f"command: {program}"
    if "/" in program and not program.startswith("/"):
        raise ImageError(
            "the program is named relative to a folder, but only programs of the base image can be measured",
            where=where,
            fix="name a program on PATH, or give its absolute path",
        )
    folders = [""] if program.startswith("/") else [f for f in search_path.split(":") if f.startswith("/")]
    for folder in folders:
        found = tree.resolve(f"{folder}/{program}" if folder else program)
        if found is not None and found[1].kind == "f" and found[1].mode & 0o111:
            return _binary(tree, *found, where=where)
    raise ImageError(
        "the base image has no such program"
        if not folders[0]
        else f"the base image has no such program in {search_path}",
        where=where,
        fix="choose a base image (`from`) that has it",
    )


def _binary(tree: Tree, path: str, node: Node, *, where: str) -> Binary:
    if node.program == elf.SCRIPT:
        raise ImageError(
            f"{path} is a script: its interpreter would run, which is not what is measured",
            where=where,
            fix="start the interpreter itself, for example: python3 script.py",
        )
    if not node.program.startswith(elf.ELF):
        raise ImageError(f"{path} is not a program for linux/amd64 that can be measured", where=where)
    if node.mode & 0o6000:
        raise ImageError(f"{path} changes the user it runs as (set-user-ID); the launcher refuses that", where=where)
    loader = node.program.removeprefix(elf.ELF)
    if not loader:
        return Binary(path=path, sha256=node.digest, loader="", loader_sha256="")
    found = tree.resolve(loader)
    if found is None or found[1].kind != "f":
        raise ImageError(f"{path} needs the loader {loader}, which the base image does not have", where=where)
    return Binary(path=path, sha256=node.digest, loader=loader, loader_sha256=found[1].digest)


def describe_paths(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """`LockedBase.paths` for absolute `paths` and all of their parents."""
    described: dict[str, str] = {}
    for path in paths:
        current = "/" + "/".join(normalise(path))
        while current != "/":
            described[current] = _kind(tree, current)
            current = posixpath.dirname(current)
    return dict(sorted(described.items()))


def _kind(tree: Tree, path: str) -> str:
    node = tree.find(path)
    if node is None:
        return "absent"
    if node.kind == "d":
        return "directory" if node.children else "empty"
    return f"link {node.target}" if node.kind == "l" else {"f": "file", "o": "other"}[node.kind]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: object) -> str:
    return value if isinstance(value, str) else _wrong()


def _digest(value: object) -> str:
    return _text(value) if is_digest(value) else _wrong()


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        _wrong()
    return int(value)


def _wrong() -> NoReturn:
    raise ValueError
