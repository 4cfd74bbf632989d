"""`pulumi-scone schema`: JSON Schemas for editors, made from the models that also judge the documents.

A schema knows shapes, not rules: what it takes may still break a rule, but what the models take it never refuses.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from scone_policy.model.session import Session
from scone_provider.manifest import Mesh, ServiceManifest

MODELS: dict[str, type[BaseModel]] = {"session": Session, "service": ServiceManifest, "mesh": Mesh}

_KEYS = {"injection_files": "path", "env": "service"}
_SCALAR = ["string", "number", "boolean", "null"]
_INTERNAL = ("reference",)
_ONE_LINE = frozenset({"Import"})
"""Models that may also be written as one line of text."""
_FLAT = {("ServiceEnvironment", "env"): "Variable"}
"""Lists by name in which items of another model may stand, too."""
Node = dict[str, Any]


def run(name: str, *, tell: Callable[[str], None]) -> int:
    """Print the schema of one sort of document."""
    tell(json.dumps(schema(name), indent=2, sort_keys=True))
    return 0


def schema(name: str) -> Node:
    """The JSON Schema (draft 2020-12) of `session`, `service` or `mesh`."""
    found = MODELS[name].model_json_schema(by_alias=True)
    definitions: Node = found.get("$defs", {})
    by_reference = {key for key, one in definitions.items() if "reference" in one.get("properties", {})}
    named: Node = {}
    tree: Node = _widened(found, definitions, named, by_reference)
    tree["$defs"] = {
        **tree.get("$defs", {}),
        **{key: _widened(one, {}, {}, by_reference) for key, one in named.items()},
    }
    tree["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return tree


def _widened(tree: Any, definitions: Node, named: Node, by_reference: set[str]) -> Any:  # noqa: ANN401 - JSON
    """The tree with lists beside maps by name, and every scalar in any spelling that the models read."""
    if isinstance(tree, list):
        return [_widened(item, definitions, named, by_reference) for item in tree]
    if not isinstance(tree, dict):
        return tree
    found: Node = {}
    for key, value in tree.items():
        if key in ("properties", "$defs"):
            kept = {name: one for name, one in value.items() if name not in _INTERNAL}
            found[key] = {
                name: _property(name, _widened(one, definitions, named, by_reference), definitions, named)
                for name, one in kept.items()
            }
        else:
            found[key] = value if key in ("default", "required") else _widened(value, definitions, named, by_reference)
    found.pop("default", None)
    return _scalar(found, by_reference)


def _scalar(node: Node, by_reference: set[str]) -> Node:
    sort = node.get("type")
    if sort in ("string", "integer", "boolean", "number"):
        return {**node, "type": _SCALAR}
    if sort == "array":
        return {"anyOf": [node, {"type": [*_SCALAR, "object"]}]}
    reference = node.get("$ref", "").removeprefix("#/$defs/")
    if reference in by_reference:
        return {"anyOf": [node, {"type": ["string", "array", "null"]}]}
    return {"anyOf": [node, {"type": "string"}]} if reference in _ONE_LINE else node


def _property(name: str, node: Node, definitions: Node, named: Node) -> Node:
    """A map by name may also be a list of maps that hold the name themselves, or be absent."""
    items = node.get("additionalProperties")
    if node.get("type") != "object":
        return node
    reference = items.get("$ref", "").removeprefix("#/$defs/") if isinstance(items, dict) else ""
    if reference not in definitions:
        return {"anyOf": [node, {"type": ["array", "null"]}]}
    key = "path" if reference == "Mount" else _KEYS.get(name, "name")
    own = copy.deepcopy(definitions[reference])
    own.setdefault("properties", {})[key] = {"type": "string"}
    named[f"{reference}In_{name}"] = own
    entry: Node = {"anyOf": [{"$ref": f"#/$defs/{reference}In_{name}"}, {"type": "string"}]}
    if (reference, name) in _FLAT:
        entry["anyOf"].append({"$ref": f"#/$defs/{_FLAT[reference, name]}"})
    return {"anyOf": [node, {"type": "array", "items": entry}, {"type": "null"}]}
