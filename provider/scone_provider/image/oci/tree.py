"""The flattened file system of an image: layers applied one over the other (OCI image-spec, layer.md)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from scone_provider.errors import ImageError

Kind = Literal["f", "d", "l", "o"]
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MAX_LINKS = 40  # as the kernel
_MAX_IMPLIED = 100_000  # directories that no layer lists: one entry with a long path can ask for thousands


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of a layer. `parts` is its normalised path; kind `h` is a hard link to `parts` of `target`."""

    parts: tuple[str, ...]
    kind: Literal["f", "d", "l", "o", "h"]
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""
    program: str = ""


class Node:
    """A file, directory, link or special file. `program` is what `elf.inspect` said of an executable file."""

    __slots__ = ("children", "digest", "kind", "mode", "program", "size", "target")

    def __init__(
        self, kind: Kind, *, mode: int, size: int = 0, digest: str = "", target: str = "", program: str = ""
    ) -> None:
        self.kind, self.mode, self.size, self.digest, self.target, self.program = (
            kind,
            mode,
            size,
            digest,
            target,
            program,
        )
        self.children: dict[str, Node] = {}


def normalise(path: str) -> tuple[str, ...]:
    """The parts of a path in an archive, seen from the root. Raises ImageError when it would leave the root."""
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if ".." in parts:
        raise ImageError(f"a layer of the base holds {shown(path)}, which leaves its root")
    return parts


def shown(path: str) -> str:
    """`path` for an error text: control characters and undecodable bytes escaped, shortened."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 200 else f"{text[:200]}…"


class Tree:
    """A file system in memory: names and digests, no content."""

    def __init__(self) -> None:
        self.root = Node("d", mode=0o755)
        self._implied = 0

    def apply(self, members: Iterable[Member]) -> None:
        """Lays one layer over what is there. Its whiteouts hide what lower layers brought, never its own files."""
        added = []
        for member in members:
            name = member.parts[-1] if member.parts else ""
            if name.startswith(_WHITEOUT):
                self._hide(member.parts[:-1], name)
            else:
                added.append(member)
        for member in added:
            self._add(member)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every path with its node, the root first, each directory before what it holds."""
        pending = [("/", self.root)]
        while pending:
            path, node = pending.pop()
            yield path, node
            prefix = "" if path == "/" else path
            pending += [(f"{prefix}/{name}", child) for name, child in sorted(node.children.items(), reverse=True)]

    def find(self, path: str) -> Node | None:
        """What lies at the absolute `path` itself: no link is followed, in no part of it."""
        node = self.root
        for part in normalise(path):
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node

    def resolve(self, path: str) -> tuple[str, Node] | None:
        """The real path and node behind all links of the absolute `path`; None where it leads nowhere."""
        done: list[tuple[str, Node]] = []
        todo = [part for part in reversed(path.split("/")) if part not in {"", "."}]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done[-1:] = []
                continue
            node = (done[-1][1] if done else self.root).children.get(part)
            if node is None:
                return None
            if node.kind != "l":
                done.append((part, node))
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            if node.target.startswith("/"):
                done = []
            todo += [p for p in reversed(node.target.split("/")) if p not in {"", "."}]
        return "/" + "/".join(part for part, _ in done), done[-1][1] if done else self.root

    def _hide(self, parent: tuple[str, ...], name: str) -> None:
        found = self.resolve("/" + "/".join(parent))
        hidden = name.removeprefix(_WHITEOUT)
        if name != _OPAQUE and hidden.startswith(_WHITEOUT):
            return  # bookkeeping of aufs, which means nothing in an image
        if hidden in {"", ".", ".."}:
            raise ImageError(f"a layer of the base holds the malformed whiteout {shown('/'.join((*parent, name)))}")
        if found is None:
            return
        if name == _OPAQUE:
            found[1].children.clear()
        else:
            found[1].children.pop(hidden, None)

    def _add(self, member: Member) -> None:
        if not member.parts:
            if member.kind != "d":
                raise ImageError("a layer of the base replaces the root directory")
            self.root.mode = member.mode
            return
        parent, name = self._parent(member.parts), member.parts[-1]
        old = parent.children.get(name)
        if member.kind == "h":
            new = self._linked(member)
        elif member.kind == "d" and old is not None and old.kind == "d":
            old.mode = member.mode
            return
        else:
            new = Node(
                member.kind,
                mode=member.mode,
                size=member.size,
                digest=member.digest,
                target=member.target,
                program=member.program,
            )
        parent.children[name] = new

    def _linked(self, member: Member) -> Node:
        parts = normalise(member.target)
        parent = self._parent(parts) if parts else self.root
        node = parent.children.get(parts[-1]) if parts else None
        if node is None or node.kind == "d":
            raise ImageError(
                f"a layer of the base holds {shown('/'.join(member.parts))}, a hard link to {shown(member.target)},"
                " which is no file of the image",
            )
        return node

    def _parent(self, parts: tuple[str, ...]) -> Node:
        """The directory that holds `parts`, behind all links and never outside the root; made where it is missing."""
        done: list[Node] = [self.root]
        todo = list(reversed(parts[:-1]))
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if len(done) > 1:
                    done.pop()
                continue
            node = done[-1].children.get(part)
            if node is None:
                self._implied += 1
                if self._implied > _MAX_IMPLIED:
                    raise ImageError(f"the base needs more than {_MAX_IMPLIED} directories that no layer lists")
                node = done[-1].children[part] = Node("d", mode=0o755)
            if node.kind == "l" and links < _MAX_LINKS:
                links += 1
                if node.target.startswith("/"):
                    done = [self.root]
                todo += [p for p in reversed(node.target.split("/")) if p not in {"", "."}]
            elif node.kind == "d":
                done.append(node)
            else:
                raise ImageError(f"a layer of the base puts {shown('/'.join(parts))} below what is no directory")
        return done[-1]
