"""docs/compatibility.md: its tables name every key of the models, no other one, and say what really happens to it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from scone_provider.derive.curated_variables import CHART_VARIABLES
from scone_provider.errors import ManifestError
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.advice import EXAMPLES
from scone_provider.manifest.cautions import cautions
from scone_provider.manifest.foreign import foreign

PAGE = (Path(__file__).parents[3] / "docs" / "compatibility.md").read_text()
NAMES = {"cas": "name", "services": "name", "env": "service", "injection_files": "path"}
"""Lists of maps that are maps by name in the models: the key that is the name."""
EXTRA = {"build.host_path": "host_path: [/etc/ssl/certs]"}
"""Spellings that no field of a model has."""
REFUSED = {
    "build.stable": "stable: r.example/team/api:1",
    "build.gen_policy.policy": "policy: p.yaml",
    "repo.squash": "squash: true",
    "repo.key_file": "key_file: cosign.key",
    "repo.config_id": "config_id: a/b",
    "extra_policies": "extra_policies: [{name: x}]",
}
MORE = {
    "kind": "",
    "build.gen_policy": "gen_policy: {}",
    "build.volumes.name": "volumes: [{name: data, path: /data}]",
    "build.volumes.path": "volumes: [{name: data, path: /data}]",
    "build.volumes.export": "volumes: [{name: data, path: /data, export: [other]}]",
    "build.volumes.import": "volumes: [{name: data, path: /data, import: {session: s, volume: v}}]",
    "build.signature.sign": "signature: {sign: false}",
    "build.signature.key": "signature: {sign: true, key: k.pem}",
    "injection_files.path": EXAMPLES["injection_files"],
    "injection_files.content": EXAMPLES["injection_files"],
    "cas.name": EXAMPLES["cas"],
    "cas.cas_key": "cas_key: 3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1",
    "cas.cas_encryption_key": f"cas_encryption_key: {'ab' * 32}",
    "env.service": EXAMPLES["env"],
    "env.env": EXAMPLES["env"],
    "services.name": EXAMPLES["services"],
    "repo.push": "push: false",
    "repo.strip": "strip: false",
}
SERVICE: dict[str, Any] = {
    "apiVersion": "scone/5.8",
    "kind": "genservice",
    "build": {"name": "api", "kind": "python", "to": "registry.example/team/api:1", "command": "python3 api.py"},
    "environment": {},
}
MESH: dict[str, Any] = {
    "apiVersion": "scone/5.8",
    "kind": "mesh",
    "cas": [{"name": "cas", "alias": ["image", "security", "access", "attestation"], "cas_url": "cas.example"}],
    "policy": {"namespace": "shop"},
    "env": [],
    "services": [{"name": "api", "image": "registry.example/team/api:1"}],
}
DOCUMENTS: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "Service manifests": (ServiceManifest, SERVICE),
    "Meshfiles": (Mesh, MESH),
}


def table(section: str) -> dict[str, list[str]]:
    """The first table below a heading: first cell without its marks → the other cells."""
    text = re.split(rf"^#+ {re.escape(section)}$", PAGE, flags=re.MULTILINE)[1]
    lines = re.match(r"(?:(?!\|).*\n)*((?:\|.*\n)+)", text)
    assert lines is not None
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in lines[1].splitlines()[2:]]
    found = {row[0].strip("`"): row[1:] for row in rows}
    assert len(found) == len(rows), "a key stands there twice"
    return found


def keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key that a model knows, with those of its parts; secrets have a page of their own."""
    for name, field in model.model_fields.items():
        key = above + (field.alias or name)
        yield key
        inner = next(iter(_models(field.annotation)), None)
        if inner is not None and not key.startswith("secrets."):
            if key in NAMES:
                yield f"{key}.{NAMES[key]}"
            yield from keys(inner, f"{key}.")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


@pytest.mark.parametrize("section", DOCUMENTS)
def test_every_key_has_a_row(section: str) -> None:
    """No key of the models is missing in the table, and no row is about a key that is gone."""
    model, _ = DOCUMENTS[section]
    spellings = {key for key in EXTRA if key.split(".")[0] in model.model_fields}
    assert set(table(section)) == set(keys(model)) | spellings
    assert {row[0] for row in table(section).values()} <= {"taken", "warned", "refused"}


def with_key(base: dict[str, Any], key: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """A document in which the example of a key stands at its place."""
    content = json.loads(json.dumps(base))
    steps = key.split(".")
    if not example or next(iter(example)) == steps[0]:
        return {**content, **example}
    node = content.setdefault(steps[0], {"destination": "registry.example/team"} if steps[0] == "repo" else {})
    node = node[0] if isinstance(node, list) else node
    if len(steps) == 3 and next(iter(example)) == steps[2]:
        node = node.setdefault(steps[1], {})
    node.update(example)
    return content


CASES = [(section, key, row[0]) for section in DOCUMENTS for key, row in table(section).items()]


@pytest.mark.parametrize(("section", "key", "status"), CASES)
def test_every_key_is_treated_as_its_row_says(section: str, key: str, status: str) -> None:
    """Each key is tried with a value that is right in the vendor's documents: taken, warned of, or refused there."""
    _, base = DOCUMENTS[section]
    spelt = {
        **EXAMPLES,
        **{name.replace(".*.", "."): one for name, one in EXAMPLES.items()},
        **MORE,
        **EXTRA,
        **REFUSED,
    }
    content = with_key(base, key, yaml.safe_load(spelt[key]) or {})
    load: Any = load_service if section == "Service manifests" else load_mesh
    text = yaml.safe_dump(content, sort_keys=False)
    if status == "refused":
        with pytest.raises(ManifestError) as caught:
            load(text, file="m.yaml")
        assert any(step in caught.value.what for step in key.split(".")[-2:])
        assert (caught.value.parts, bool(caught.value.fix)) == ((), True)
    else:
        assert bool(cautions(load(text, file="m.yaml"))) == (status == "warned")


@pytest.mark.parametrize(("kind", "row"), table("Build kinds").items())
def test_build_kinds(kind: str, row: list[str]) -> None:
    """With and without a builder, as the table says."""
    named = "rust-1.80" if kind == "any other word" else kind
    content = yaml.safe_dump({**SERVICE, "build": {**SERVICE["build"], "kind": named}})
    for toolchain, status in zip(("embedded", "vendor"), row, strict=True):
        if status == "taken":
            assert load_service(content, file="m.yaml", toolchain=toolchain).build.kind == named  # type: ignore[arg-type]
        else:
            with pytest.raises(ManifestError, match=r"docs/vendor-toolchain\.md"):
                load_service(content, file="m.yaml", toolchain=toolchain)  # type: ignore[arg-type]


def test_variables_with_a_meaning() -> None:
    """Those of the chart are all there."""
    rows = table("Variables with a meaning")
    assert {name for name, row in rows.items() if row[0] == "taken"} == set(CHART_VARIABLES)


@pytest.mark.parametrize(("version", "row"), table("Documents of other tools").items())
def test_documents_of_other_tools(version: str, row: list[str]) -> None:
    """Each is told apart by what the table says."""
    for one in re.findall("[a-z0-9./]+", version.partition("without")[0].replace("`", "")):
        kinds = re.findall("`([A-Z][A-Za-z]+)`", row[0]) or ["Pod"]
        for kind in kinds if one != "v2" else [""]:
            said = foreign({"apiVersion": one, "kind": kind, "name": "a", "version": "1"} if kind else CHART)
            assert said is not None, (one, kind)


CHART = {"apiVersion": "v2", "name": "a", "version": "1"}


def test_keys_of_the_vendors_schemas() -> None:
    """Where the published schemas are at hand: every property in them has a row."""
    folder = os.environ.get("SCONE_CONFORMANCE")
    published = {"Service manifests": "genservice.json", "Meshfiles": "mesh.json"}
    for section, file in published.items() if folder else ():
        schemas = json.loads((Path(str(folder)).parent / "openapi" / file).read_text())["components"]["schemas"]
        known = {key.rpartition(".")[2] for key in table(section)}
        skipped = {"GlobalSecret", "KeyValue", "GlobalKeyValue", "VolumeExport", "VolumeImport", "Mode", "Secrets"}
        named = {name for title, one in schemas.items() if title not in skipped for name in one.get("properties", {})}
        assert named - known == set()
    assert set(table("Service manifests")) >= {"build.kind", "secrets.import"}
