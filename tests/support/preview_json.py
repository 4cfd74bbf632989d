"""The JSON of a preview, made by hand: steps as the engine writes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MESH = "urn:pulumi:dev::shop::scone:index:MeshDeployment"
TYPES = {"Release": "kubernetes:helm.sh/v3:Release"}
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def step(
    kind: str,
    name: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    op: str = "update",
    paths: Sequence[str] = (),
) -> dict[str, Any]:
    """One step; `paths` are those of the engine's detailed diff."""
    type_ = TYPES.get(kind, f"pulumi-python:dynamic/scone:{kind}")
    found: dict[str, Any] = {"op": op, "urn": f"{MESH}${type_}::{name}"}
    found |= {side: {"inputs": dict(inputs)} for side, inputs in (("oldState", old), ("newState", new)) if inputs}
    return found | {"detailedDiff": {path: {"kind": "update", "inputDiff": True} for path in paths}}


def preview(*steps: Mapping[str, Any], diagnostics: Sequence[Mapping[str, str]] = ()) -> str:
    """What `pulumi preview --json` prints."""
    return json.dumps({"steps": list(steps), "diagnostics": list(diagnostics)})
