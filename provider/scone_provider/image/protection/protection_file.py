"""The protection file: every path with type, mode, size and digest; base and service apart."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scone_provider.errors import ImageError
from scone_provider.image.oci.canonical_json import canonical_json
from scone_provider.image.oci.layers import Blob, directory, file, layer
from scone_provider.image.oci.tree import Tree, shown
from scone_provider.image.protection.image_keys import ImageKeys
from scone_provider.image.protection.seal import ROOT_LABEL, seal

SCONE = "/.scone"
MEMORY = f"{SCONE}/memory"
EXCLUDED_DIRECTORIES = ("/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp")  # noqa: S108  names in an image
EXCLUDED_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"})
KUBERNETES_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})

Entry = tuple[str, int, int, str]
"""Type, mode, size in bytes, digest in hex or target: what `entries` maps a path to."""


def belongs_to_runtime(path: str) -> bool:
    """True for what the container runtime owns: listed in no protection file, verified by no launcher."""
    return path in EXCLUDED_FILES or any(path == top or path.startswith(f"{top}/") for top in EXCLUDED_DIRECTORIES)


def base_entries(tree: Tree) -> dict[str, Entry]:
    """What `base.json` lists of a flattened base. Raises ImageError for a name that is not UTF-8, and for `/.scone`."""
    entries: dict[str, Entry] = {}
    for path, node in tree.walk():
        if path == SCONE:
            raise ImageError(
                f"the base already has {SCONE}: it is a confidential image itself", fix="name its own base"
            )
        if belongs_to_runtime(path):
            continue
        try:
            f"{path}{node.target}".encode()
        except UnicodeEncodeError:
            raise ImageError(f"the base holds {shown(path)}, whose name is not UTF-8 and cannot be protected") from None
        if node.kind == "l":
            if not node.target:
                raise ImageError(f"the base holds {shown(path)}, a link to nothing, which cannot be protected")
            entries[path] = ("l", 0, 0, node.target)
        elif node.kind == "f":
            entries[path] = ("f", node.mode, node.size, node.digest)
        else:
            entries[path] = (node.kind, node.mode, 0, "")
    return entries


def base_protection(entries: Mapping[str, Entry]) -> bytes:
    """The bytes of `base.json`."""
    return canonical_json({"version": 1, "entries": entries})


def base_protection_layer(base_json: bytes) -> Blob:
    """The layer that brings `base.json`: it depends on the base alone, so all services on one base share it."""
    return layer([directory(SCONE), file(f"{SCONE}/base.json", base_json)])


@dataclass(frozen=True, kw_only=True)
class EncryptedDirectory:
    """A directory that exists in memory only. `entries`: relative path to `Entry`, files with blob name and digest."""

    mode: int
    entries: Mapping[str, tuple[object, ...]]

    def to_json(self) -> dict[str, object]:
        """As it stands in the protection file."""
        return {"mode": self.mode, "entries": self.entries}


@dataclass(frozen=True, kw_only=True)
class ServiceProtection:
    """The service's part. `base`, `launcher`, `configuration`: SHA-256 in hex of the files of that name."""

    base: str
    launcher: str
    configuration: str
    entries: Mapping[str, Entry]
    encrypted: Mapping[str, EncryptedDirectory]
    injected: Mapping[str, str] = field(default_factory=dict)
    volumes: Iterable[str] = ()
    unprotected: Iterable[str] = ()

    def to_bytes(self) -> bytes:
        """The plaintext of `service.fspf`."""
        return canonical_json(
            {
                "version": 1,
                "base": self.base,
                "launcher": self.launcher,
                "configuration": self.configuration,
                "entries": self.entries,
                "encrypted": {path: directory.to_json() for path, directory in self.encrypted.items()},
                "injected": self.injected,
                "volumes": sorted(self.volumes),
                "unprotected": sorted(self.unprotected),
            },
        )

    def sealed(self, keys: ImageKeys) -> bytes:
        """The bytes of `service.fspf`."""
        return seal(keys, ROOT_LABEL, self.to_bytes())


def protection_tag(sealed_root: bytes) -> str:
    """`fspf_tag`: 32 hex digits over the bytes of `service.fspf`."""
    return hashlib.sha256(sealed_root).hexdigest()[:32]
