"""`pulumi-scone schema`: schemas that editors can use, which take good documents and refuse misspelt keys."""

import copy
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator

from scone_policy import parse
from scone_policy.syntax.yaml_source import load
from scone_provider.cli import main
from scone_provider.commands.files import OpenVariables
from scone_provider.commands.schema import MODELS, schema
from scone_provider.manifest.variables import read
from support.policy_strategies import wire_sessions
from unit.scone_policy import test_conformance as conformance
from unit.scone_policy.model import test_language as language
from unit.scone_policy.model import test_session as sessions
from unit.scone_policy.rules import test_rules as rules
from unit.scone_policy.syntax import test_spellings as spellings

ROOT = Path(__file__).parents[4]
LENIENT = {"environment", "payload", "export", "access_policy", "attestation", "images"}
"""Parts of a session whose keys their authors choose, or which have more spellings than a schema tells apart."""
SESSION = """\
name: shop/web
version: "0.3.12"
services:
  - name: web
    command: /app/web
    environment: {PORT: 8080, TOKEN: "$$SCONE::token$$"}
    attestation: [{mrenclave: [MRENCLAVE], signer: {mrsigner: MRSIGNER, isvprodid: 1, isvsvn: 2}}]
secrets:
  - {name: token, kind: ascii, size: 20, export: [{session: other}]}
  - {name: key, kind: private-key, key_type: P-384, migrate: true}
  - {name: jwt, kind: jwt, signer: key, alg: ES384, validity: {for: 1 day}, payload: {sub: web}}
  - {name: taken, import: {session: other, secret: token}}
volumes: [{name: data, export: [{to: {session: other}}]}]
images: [{name: web, volumes: [{name: data, path: /data}], injection_files: [{path: /etc/a, content: x}]}]
access_policy: {read: [CREATOR], update: [{require-all: [CREATOR]}]}
security: {attestation: {mode: hardware, tolerate: [debug-mode]}}
"""
MANIFEST = """\
apiVersion: scone/5.8
kind: genservice
build: {name: web, kind: python, to: "r.example/web:1", pwd: /app, command: python3 web.py, copy: [web.py],
  volumes: [{name: data, path: /data}], signature: {sign: false}}
environment: {local: [{name: SCONE_HEAP, value: 512M}], global: [{name: PORT, value: 80}]}
secrets: {local: [{name: password, kind: ascii, size: "{{length}}"}], global: [{name: key, kind: private-key}]}
injection_files: [{path: /etc/a, content: x}]
"""
MESH = """\
apiVersion: scone/5.8
kind: mesh
cas: [{name: cas, alias: [image, security, access, attestation], cas_url: cas.example, tolerance: -C}]
policy: {namespace: shop, tolerate: "debug-mode, hyperthreading"}
env: [{service: web, env: [{name: replicaCount, value: 2}]}]
services: [{name: web, image: "r.example/web:1"}]
repo: {destination: r.example}
"""
DOCUMENTS = {"session": SESSION, "service": MANIFEST, "mesh": MESH}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_schema_is_one_of_its_draft(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a valid schema of 2020-12: every reference leads somewhere, what is internal does not show."""
    assert main(["schema", name]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == schema(name)
    Draft202012Validator.check_schema(found)
    text = json.dumps(found)
    assert {one.partition('"')[0] for one in text.split("#/$defs/")[1:]} <= set(found["$defs"])
    assert '"reference"' not in text


def test_schema_takes_lists_by_name() -> None:
    """On paper services are a list of maps with names: editors must not mark that as wrong."""
    found = schema("session")
    kinds = [one.get("type") for one in found["properties"]["services"]["anyOf"]]
    assert kinds == ["object", "array", "null"]
    assert "name" in found["$defs"]["ServiceIn_services"]["properties"]


def judged(name: str, data: object) -> list[str]:
    """What the schema has against a document."""
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(data)]


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """The judge of one sort of document."""
    return Draft202012Validator(schema(name))


def test_good_documents_are_taken() -> None:
    """What a model takes its schema takes: examples, seeds of the fuzzers, documents of the field where they are."""
    files = [*ROOT.glob("examples/*/*.yaml"), *ROOT.glob("tests/fuzz/seeds/*/*.yaml")]
    if folder := os.environ.get("SCONE_CONFORMANCE"):
        files += Path(folder).parent.glob("manifests/*.yaml*")
    seen = dict.fromkeys(MODELS, 0)
    for file in files:
        data = read(file.read_text(), file=file.name, variables=OpenVariables({}))[0].data
        found = data if isinstance(data, dict) else {}
        name = {"mesh": "mesh", "genservice": "service"}.get(str(found.get("kind")))
        if name is None and {"version", "services"} <= set(found):
            name = "session"
        if name is not None:
            seen[name] += 1
            assert judged(name, data) == [], file
    assert min(seen.values()) > 0, seen
    for name, text in DOCUMENTS.items():
        assert judged(name, yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mesh", {"env": [{"name": "A", "value": 1}, {"service": "web", "env": []}]}),
        ("mesh", {"helm_extra_values": {"services": {"web": {"replicas": 2}}}}),
        ("mesh", {"helm_extra_values": "services: {}\n"}),
        ("mesh", {"repo": {"destination": "r.example", "push": None}}),
        ("service", {"build": {**yaml.safe_load(MANIFEST)["build"], "kind": "java21", "host_path": ["/etc/ssl"]}}),
    ],
)
def test_other_spellings_are_taken(name: str, more: dict[str, Any]) -> None:
    """What the field writes in more than one way, editors take in each."""
    assert judged(name, {**yaml.safe_load(DOCUMENTS[name]), **more}) == []
    assert judged(name, {**yaml.safe_load(DOCUMENTS[name]), "zonk": 1}) != []


def accepted() -> Iterator[Any]:
    """Every session that the tests of the language take, in the form in which it is written there."""
    for data in (side for pairs in (language.EQUAL, sessions.EQUAL, rules.EQUAL) for pair in pairs for side in pair):
        yield data if "name" in data else {"name": "a", "version": "0.3", "security": data}
    yield from (data for data, _, _ in language.FEATURES)
    yield from rules.TAKEN
    yield from conformance.accepted()
    for text in (side for pairs in (spellings.NULLS, spellings.ALIKE) for pair in pairs.values() for side in pair):
        yield load(spellings.head(text)).data
    one_line = f"cas.example/cas_key={'ab' * 32},session=a/b,secret=z"
    for taken in (one_line, {"session": one_line.partition(",secret")[0], "secret": "z"}):
        yield {"name": "a", "version": "0.3", "secrets": [{"name": "k", "kind": "ascii", "import": taken}]}


def test_every_accepted_session_is_taken() -> None:
    """The schema refuses nothing that the models take, as it was written and in its canonical form."""
    documents = list(accepted())
    assert len(documents) > 100
    for data in documents:
        for form in (data, parse(data).canonical()):
            assert judged("session", form) == [], data


@given(wire_sessions())
def test_every_generated_session_is_taken(data: dict[str, Any]) -> None:
    """The same for sessions with every feature of the language."""
    assert judged("session", data) == []


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_unknown_keys_are_refused_everywhere(name: str) -> None:
    """An editor marks a misspelt key in every map of a manifest, and in the sections and entries of a session."""
    data = yaml.safe_load(DOCUMENTS[name])
    places = [path for path in _maps(data) if name != "session" or not LENIENT & {*path}]
    assert len(places) > 6
    for path in places:
        edited = place = copy.deepcopy(data)
        for step in path:
            place = place[step]
        place["zonk"] = 1
        assert judged(name, edited) != [], path


def _maps(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(tree, dict):
        yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _maps(value, (*path, key))
