"""The order of packages that docs/architecture.md draws: who may import whom, and no circle anywhere."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "pulumi_scone": ROOT / "components",
    "scone_cas": ROOT / "provider",
    "scone_policy": ROOT / "provider",
    "scone_provider": ROOT / "provider",
}
MAY_IMPORT = {
    "pulumi_scone": {"scone_provider", "scone_policy"},
    "scone_provider": {"scone_policy"},
    "scone_cas": {"scone_policy"},
    "scone_policy": set[str](),
}
OVER_THE_WALL = {
    "scone_provider.cli": "scone_cas",
    "scone_provider.commands": "scone_cas",
}
"""The command `pulumi-scone` starts the embedded CAS and verifies its logs."""
LAYERS = {
    "scone_policy": ["errors", "syntax", "forms", "keys", "model", "sealed", "rules", "diff"],
    "scone_provider": [
        "errors",
        "process",
        "file_errors",
        "deadline",
        "chart",
        "image.oci",
        "image.protection",
        "image.registry",
        "image.base",
        "image.build",
        "image.publish",
        "image.launcher",
        "kubernetes",
        "cas",
        "manifest",
        "stack",
        "policy",
        "catalogue",
        "derive",
        "resources",
        "review",
        "commands",
        "cli",
    ],
    "scone_cas": [
        "tally",
        "log",
        "process",
        "limits",
        "errors",
        "strict_json",
        "storage",
        "identity",
        "keys",
        "audit",
        "entra",
        "sessions",
        "filesystems",
        "secrets",
        "federation",
        "keystore",
        "registry",
        "attestation",
        "api",
        "server",
        "__main__",
    ],
}
"""From the lowest to the highest: each imports what stands before it, and nothing after."""
NO_IO = ("scone_policy", "scone_provider.manifest", "scone_provider.derive")
VOCABULARY = {"scone_provider.derive.kubernetes_values", "scone_provider.derive.kubernetes_rules"}
"""They take the shape of a pod from the models of the Kubernetes client, and ask nobody anything."""
PURE = {
    *("base64", "binascii", "copy", "dataclasses", "datetime", "difflib", "enum", "fractions", "functools"),
    *(
        "graphlib",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "pathlib",
        "posixpath",
    ),
    *("re", "shlex", "string", "textwrap", "types", "typing", "unicodedata", "urllib.parse"),
    *("cryptography", "pydantic", "pydantic_core", "yaml"),
}
"""All that the core imports beside its own: what computes. A list of what is forbidden would always be too short."""


def _modules() -> dict[str, Path]:
    found = {}
    for package, base in PACKAGES.items():
        for path in (base / package).rglob("*.py"):
            found[".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(source: bytes, package: str) -> Iterator[str]:
    """What a module of this package imports, wherever in it, also for type checkers only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (name if (name := f"{base}.{alias.name}") in MODULES else base for alias in node.names)


def _edges(module: str, path: Path) -> set[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return {name for name in _imports(path.read_bytes(), package) if name != module}


EDGES = {module: _edges(module, path) for module, path in MODULES.items()}


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import scone_cas.errors", "scone_cas.errors"),
        ("from scone_policy import errors", "scone_policy.errors"),
        ("from scone_policy.errors import PolicyError", "scone_policy.errors"),
        ("def f():\n    from scone_policy.rules.check import check", "scone_policy.rules.check"),
        ("if TYPE_CHECKING:\n    from scone_policy.rules.check import check", "scone_policy.rules.check"),
        ("try:\n    import scone_policy.rules.check as c\nexcept ImportError:\n    pass", "scone_policy.rules.check"),
        ("from .names import segment", "scone_policy.syntax.names"),
        ("from . import names", "scone_policy.syntax.names"),
        ("from ..rules.check import check", "scone_policy.rules.check"),
        ("from .. import errors", "scone_policy.errors"),
    ],
)
def test_every_spelling_of_an_import_is_seen(source: str, imported: str) -> None:
    """Inside of functions, for type checkers only, relative: as a module of `scone_policy.syntax` would write it."""
    assert list(_imports(source.encode(), "scone_policy.syntax")) == [imported]


def test_modules_are_imported_by_statements_only() -> None:
    """An import by a computed name would hide from the tests below; the package of components finds its own ones so."""
    found = [module for module, path in MODULES.items() if re.search(r"import_module|__import__", path.read_text())]
    assert found == ["pulumi_scone"]


def _layer(module: str) -> int | None:
    """The number of a module's layer; None for a package itself, which holds names of the layers below."""
    package, _, inner = module.partition(".")
    layers = LAYERS[package]
    return next((n for n, layer in enumerate(layers) if f"{inner}.".startswith(f"{layer}.")), None)


def test_no_circle() -> None:
    """No module imports itself by way of others."""
    try:
        TopologicalSorter({module: names & MODULES.keys() for module, names in EDGES.items()}).prepare()
    except CycleError as problem:
        pytest.fail(" → ".join(problem.args[1]))


def test_packages_know_only_those_below() -> None:
    """`pulumi_scone` → `scone_provider` → `scone_policy` ← `scone_cas`, but for what the command line does."""
    wrong = [
        f"{module} imports {name}"
        for module, names in EDGES.items()
        for name in names
        if (other := name.partition(".")[0]) in PACKAGES
        and other != (own := module.partition(".")[0])
        and other not in MAY_IMPORT[own]
        and OVER_THE_WALL.get(".".join(module.split(".")[:2])) != other
    ]
    assert wrong == []


@pytest.mark.parametrize("package", LAYERS)
def test_layers_know_only_those_below(package: str) -> None:
    """Inside a package each room imports from the rooms below it only."""
    wrong = [
        f"{module} imports {name}"
        for module, names in EDGES.items()
        for name in names & MODULES.keys()
        if module.startswith(f"{package}.")
        and name.startswith(f"{package}.")
        and (own := _layer(module)) is not None
        and (other := _layer(name)) is not None
        and other > own
    ]
    assert wrong == []


def test_every_module_has_a_layer() -> None:
    """A new room takes its place in the order above."""
    homeless = [
        module
        for module, path in MODULES.items()
        if module.partition(".")[0] in LAYERS and path.name != "__init__.py" and _layer(module) is None
    ]
    assert homeless == []


def test_the_core_does_no_input_or_output() -> None:
    """The language, the manifests and the derivation import nothing but what computes: no engine, network, process."""
    wrong = [
        f"{module} imports {name}"
        for module, names in EDGES.items()
        for name in names
        if module.startswith(NO_IO) and (package := name.partition(".")[0]) not in PACKAGES
        if name not in PURE and package not in PURE and not name.startswith("collections")
        if not (module in VOCABULARY and package == "kubernetes")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", LAYERS)
def test_the_order_is_as_drawn(package: str) -> None:
    """The tables of docs/architecture.md show the same rooms in the same order."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition(f"\n### {package}\n")[2].partition("\n#")[0]
    assert re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE) == LAYERS[package]
