"""The public surface of `pulumi_scone`: sorted, complete, typed, and describable to other languages."""

import ast
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

from pulumi.provider.experimental.analyzer import Analyzer
from pulumi.provider.experimental.schema import generate_schema

import pulumi_scone
from pulumi_scone import CasNamespace, ConfidentialImage, MeshDeployment

COMPONENTS = [CasNamespace, ConfidentialImage, MeshDeployment]
FOLDER = Path(pulumi_scone.__file__).parent


def test_all_is_sorted_and_complete() -> None:
    """`__all__` is everything that the package imports from its own modules, once, in order."""
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    own = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pulumi_")
    ]
    assert sorted(alias.name for node in own for alias in node.names) == pulumi_scone.__all__
    assert all(hasattr(pulumi_scone, name) for name in pulumi_scone.__all__)


def test_policies_alone_are_light() -> None:
    """A program that only keeps policies loads neither Kubernetes' package nor the building of images."""
    heavy = ("pulumi_kubernetes", "pulumi_docker_build", "scone_provider.image.build.plan")
    program = f"import sys, pulumi_scone; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_arguments_are_public() -> None:
    """Whoever types a program's arguments finds every TypedDict in the package itself."""
    tree = ast.parse((FOLDER / "_arguments.py").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    defined |= {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert {name for name in defined if name.endswith("Args")} <= set(pulumi_scone.__all__)


def test_annotations_are_real() -> None:
    """Pulumi's analyzer reads annotations at run time: no module may turn them into strings."""
    for path in FOLDER.glob("*.py"):
        assert "from __future__ import annotations" not in path.read_text(), path


def test_components_can_be_described_to_other_languages() -> None:
    """Pulumi's own analyzer accepts the components with their TypedDicts, and makes a package schema of them."""
    found = Analyzer("scone").analyze(components=COMPONENTS)
    assert set(found["component_definitions"]) == {component.__name__ for component in COMPONENTS}
    schema = generate_schema(
        "scone",
        "0.1.0",
        "",
        found["component_definitions"],
        found["type_definitions"],
        list(found["dependencies"]),
    ).to_json()
    mesh = schema["resources"]["scone:index:MeshDeployment"]
    assert mesh["inputProperties"]["mesh"]["$ref"] == "#/types/scone:index:MeshArgs"
    assert mesh["inputProperties"]["deleteImages"]["type"] == "boolean"
    for component in COMPONENTS:
        outputs = schema["resources"][f"scone:index:{component.__name__}"]["properties"].values()
        assert all(output["description"] for output in outputs), component
    assert set(schema["types"]) == {
        f"scone:index:{name}"
        for name in pulumi_scone.__all__
        if name.endswith("Args") and name not in {f"{component.__name__}Args" for component in COMPONENTS}
    }
    assert json.dumps(schema)


def test_every_argument_is_described() -> None:
    """Each argument of a component has a description, which editors and other languages show."""
    found = Analyzer("scone").analyze(components=COMPONENTS)
    for name, component in found["component_definitions"].items():
        missing = [key for key, definition in component.inputs.items() if not definition.description]
        assert missing == [], name


def test_package_is_no_provider_plugin_and_typed() -> None:
    """The language host must not look for a plugin of this name; type checkers must believe the annotations."""
    folder = resources.files("pulumi_scone")
    assert json.loads((folder / "pulumi-plugin.json").read_text()) == {"resource": False}
    assert (folder / "py.typed").is_file()
