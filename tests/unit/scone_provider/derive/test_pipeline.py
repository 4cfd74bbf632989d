"""From manifests to a plan each document is read, filled and judged once: by a command and by a program."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_scone import _mesh_plan
from scone_provider.cli import main
from scone_provider.derive.pipeline import IN_PYTHON, folder_of
from scone_provider.manifest import load_mesh
from support.readings import Readings

NUMBER = 3
MESH = """\
apiVersion: scone/5.8
kind: mesh
cas: [{name: cas, alias: [image, security, access, attestation], cas_url: "{{where}}.example"}]
policy: {namespace: shop}
env: [{service: global, env: [{name: where, value: cas}, {name: repo, value: r.example}, {name: place, value: app}]}]
services:
""" + "".join(f'  - {{name: s{number}, image: "{{{{repo}}}}/s{number}:1"}}\n' for number in range(NUMBER))
SERVICE = """\
apiVersion: scone/5.8
kind: genservice
build: {name: a, kind: python, to: "{{repo}}/%s:1", pwd: "/{{place}}", command: "python3 {{place}}.py", copy: []}
environment: {local: [{name: A, value: "{{place}}"}]}
"""
SERVICES = {f"s{number}.yaml": SERVICE % f"s{number}" for number in range(NUMBER)}


def by_command() -> None:
    """`pulumi-scone derive`."""
    assert main(["derive", "mesh.yaml"]) == 0


def by_program() -> None:
    """What `MeshDeployment` does before it makes resources."""
    _mesh_plan.MeshBuilder("shop", {"mesh_file": "mesh.yaml", "manifest_files": list(SERVICES)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the mesh, which is the working directory."""
    for name, text in {"mesh.yaml": MESH, **SERVICES}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("go", [by_command, by_program])
def test_each_document_is_read_filled_and_judged_once(go: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is read once, judged as written, named, filled, and judged as filled: each once, none twice."""
    found = Readings(monkeypatch)
    go()
    services, every = dict.fromkeys(SERVICES, 1), dict.fromkeys(["mesh.yaml", *SERVICES], 1)
    assert found.counts == {"read": every, "judged": every, "filled": every, "named": services, "settled": services}


@pytest.mark.usefixtures("folder")
def test_a_check_reads_each_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pulumi-scone check` judges the document that it looked at to tell its sort."""
    found = Readings(monkeypatch)
    assert main(["check", "mesh.yaml", *SERVICES]) == 0
    every = dict.fromkeys(["mesh.yaml", *SERVICES], 1)
    assert (found.counts["read"], found.counts["judged"]) == (every, every)
    assert found.counts["filled"] == {"mesh.yaml": 1}


def test_paths_in_a_meshfile_are_relative_to_it() -> None:
    """A Meshfile that a program wrote has the program's folder."""
    assert folder_of(load_mesh(MESH, file="a/b/mesh.yaml")) == Path("a/b")
    assert folder_of(load_mesh(MESH, file=IN_PYTHON)) == Path()
