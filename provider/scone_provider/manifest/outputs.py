"""Where in a manifest a value may stand that is known only later: an Output, in a program that gives manifests."""

from collections.abc import Iterator, Mapping
from typing import Any

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.manifest.findings import stop

NOT_AN_OUTPUT = "an Output cannot stand here: what there is to do depends on it, and its value is known only later"
INSTEAD = 'Give the value itself, such as pulumi.Config().require("NAME"); inside of a section, Outputs may be values.'
_ANY = "*"
_BELOW = "**"
_SERVICE: tuple[tuple[str, ...], ...] = (
    ("build", "name"),
    ("build", "to"),
    ("build", "command"),
    ("build", "pwd"),
    ("build", "from"),
    ("build", "run", _ANY),
    ("build", "signature", "key"),
    ("build", "volumes", _ANY, "export", _BELOW),
    ("build", "volumes", _ANY, "import", _BELOW),
    ("environment", _ANY, _ANY, "value"),
    ("injection_files", _ANY, "content"),
    ("secrets", _ANY, _ANY, _BELOW),
)
_MESH: tuple[tuple[str, ...], ...] = (
    ("cas", _ANY, "cas_url"),
    ("cas", _ANY, "cas_key"),
    ("cas", _ANY, "cas_encryption_key"),
    ("policy", "namespace"),
    ("policy", "tolerate"),
    ("policy", "ignore_advisories"),
    ("policy", "maa"),
    ("policy", "image_policy_namespace"),
    ("policy", "access_policy_name"),
    ("policy", "attestation_policy_name"),
    ("policy", "security_policy_name"),
    ("env", _ANY, "env", _ANY, "value"),
    ("env", _ANY, "value"),
    ("services", _ANY, "image"),
    ("repo", "destination"),
    ("helm_extra_values", _BELOW),
)
_OPEN = {"genservice": _SERVICE, "mesh": _MESH}
_KEY = 3
"""Where the key of a secret stands in a path: section, list, item, key."""
_NAMING = ("name", "kind")
"""Keys of a secret that decide what it is."""
_PATHS = ("dirs", "fs_dirs", "fs_files", "plains", "plain_files", "host_paths")


def output_problems(document: Document, *, kind: str) -> list[Problem]:
    """A problem for each Output in a manifest that stands where its value is needed before it is known.

    `kind`: `genservice` or `mesh`, as manifests name themselves.
    """
    data = document.data
    if not isinstance(data, Mapping) or not has_hole(data):
        return []
    allowed = _OPEN[kind]
    return [
        Problem(path=_named(data, path), rule=NOT_AN_OUTPUT, fix=INSTEAD)
        for path in _holes(data, ())
        if not any(_fits(path, pattern) for pattern in allowed) or _decides(path, data)
    ]


def refuse_outputs(document: Document, *, kind: str) -> None:
    """Raise ManifestError (ManifestErrors) for the Outputs of a document of this kind that stand where none may."""
    stop(output_problems(document, kind=kind), document)


def _holes(tree: object, path: Path) -> Iterator[Path]:
    if isinstance(tree, str):
        if has_hole(tree):
            yield path
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            if has_hole(key):
                yield (*path, key)
            yield from _holes(value, (*path, key))
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from _holes(value, (*path, number))


def _fits(path: Path, pattern: tuple[str, ...]) -> bool:
    if has_hole(path):
        return False  # a key, which nothing fills in
    if pattern[-1] == _BELOW:
        pattern, path = pattern[:-1], path[: len(pattern) - 1]
    if len(path) != len(pattern):
        return False
    return all(want in (_ANY, step) for step, want in zip(path, pattern, strict=True))


def _decides(path: Path, data: Mapping[str, object]) -> bool:
    """True where a key that may be open elsewhere decides what there is: a secret's kind, the place of files."""
    if path[0] == "secrets":
        return len(path) > _KEY and path[_KEY] in _NAMING
    return path == ("build", "pwd") and _places_files(data["build"])


def _places_files(build: object) -> bool:
    """Whether the working directory says where files of the image are, and so which of them are encrypted."""
    assert isinstance(build, Mapping)
    named = (item for key in _PATHS for item in build.get(key) or ())
    return bool(build.get("copy")) or any(not str(item).startswith("/") for item in named)


def _named(data: object, path: Path) -> Path:
    """The path with items of lists by their names, as other errors have it."""
    found: list[str | int] = []
    node: Any = data
    for step in path:
        node = node.get(step) if isinstance(node, Mapping) else node[step]
        name = _name_of(node) if isinstance(step, int) else None
        found.append(step if name is None else name)
    return tuple(found)


def _name_of(item: object) -> str | None:
    names = [item.get(key) for key in ("name", "path", "service")] if isinstance(item, Mapping) else []
    return next((name for name in names if isinstance(name, str) and not has_hole(name)), None)
