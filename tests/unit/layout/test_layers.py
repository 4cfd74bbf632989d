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
IO = {"pulumi", "pulumi_kubernetes", "pulumi_docker_build", "httpx", "kubernetes", "oras", "socket", "subprocess"}


def _modules() -> dict[str, Path]:
    found = {}
    for package, base in PACKAGES.items():
        for path in (base / package).rglob("*.py"):
            found[".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(path: Path) -> Iterator[str]:
    """What a module imports, wherever in it, also for type checkers only."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, path
            yield from (
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            )


EDGES = {module: {name for name in _imports(path) if name != module} for module, path in MODULES.items()}


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
    """The language, the manifests and the derivation import no engine, no network, no process."""
    wrong = [
        f"{module} imports {name}"
        for module, names in EDGES.items()
        for name in names
        if module.startswith(NO_IO) and (package := name.partition(".")[0]) in IO
        if not (module in VOCABULARY and package == "kubernetes")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", LAYERS)
def test_the_order_is_as_drawn(package: str) -> None:
    """The tables of docs/architecture.md show the same rooms in the same order."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition(f"\n### {package}\n")[2].partition("\n#")[0]
    assert re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE) == LAYERS[package]
