"""Wrong input of the components: one pulumi.RunError with place, rule and what to do; nothing is registered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_scone import CasNamespace, ConfidentialImage, MeshDeployment, SecurityPolicy
from support.component_meshes import FROM_FILES, MESH, MESH_FILE, SERVICE, SERVICE_FILE, SWITCHES, TYPED, write_files
from unit.pulumi_scone.conftest import Result, Run

PLANTED = "planted-e77a"
OTHER: Any = {**SERVICE, "build": {**SERVICE["build"], "to": "localhost:5000/team/apj:1"}}
PRODUCTION = {"scone:production": "true", "project:production": "true"}


def refusal(run: Run, component: Callable[..., object], args: object, **options: Any) -> str:
    """The text of the RunError that a component ends with. Pulumi prints the text alone of exactly this exception."""
    results: list[Result] = []

    def program() -> None:
        component("app", args)

    with pytest.raises(pulumi.RunError) as caught:
        results.append(run(program, **options))
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    text = str(caught.value)
    assert "Traceback" not in text
    assert PLANTED not in text
    return text


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("  namespace: acme", "  namespace: acme\n  colour: red"), ("mesh.yaml:10: policy.colour", "unknown key")),
        (("  namespace: acme", "  namespace: [acme]"), ("mesh.yaml:9: policy.namespace", "")),
        (("kind: mesh", "kind: mash"), ("mesh.yaml:2: kind", "must be mesh")),
        (("      - name: API_USER\n        value: myself\n", ""), ("service.yaml:", "API_USER")),
        (("kind: mesh", "kind: {mesh"), ("mesh.yaml:", "")),
        (("443", "many"), ("mesh.yaml:", "APP_SERVICE_PORT")),
        (("trust-any", "trust-all"), ("mesh.yaml:7: cas.cas.tolerance", "trust-all")),
    ],
)
def test_mistakes_in_the_meshfile(run: Run, tmp_path: Path, edit: tuple[str, str], said: tuple[str, str]) -> None:
    """Each mistake is said with file and line."""
    assert edit[0] in MESH_FILE
    write_files(tmp_path, mesh=MESH_FILE.replace(*edit, 1))
    text = refusal(run, MeshDeployment, FROM_FILES)
    assert text.startswith(said[0])
    assert said[1] in text


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("  pwd: /app", "  pwd: /app\n  colour: red"), ("service.yaml:21: build.colour", "unknown key")),
        (("size: 10", "size: ten"), ("service.yaml:15: secrets.local.password.size", "whole number")),
        (("SCONE::password", "SCONE::pasword"), ("service.yaml:", "pasword")),
        (
            ("  pwd: /app", "  pwd: /app\n  stable: a:1"),
            ("service.yaml:21: build.stable", "not supported"),
        ),
        (("  pwd: /app", "  pwd: /app\n  requirements: r.txt"), ("service.yaml:24: build.copy[0]", "does not exist")),
        (
            ("  copy:\n    - api.py\n", "  requirements: r.txt\n"),
            ("service.yaml:22: build.requirements", "'r.txt' cannot be read"),
        ),
        (("$REPO", "$REPOSITORY"), ("service.yaml:", "$REPOSITORY has no value")),
        (("kind: ascii", f"kind: ascii\n      value: [{PLANTED}]"), ("service.yaml:", "secrets.local.password")),
    ],
)
def test_mistakes_in_the_manifest(run: Run, tmp_path: Path, edit: tuple[str, str], said: tuple[str, str]) -> None:
    """Each mistake is said with file and line, and without the value that is wrong."""
    assert edit[0] in SERVICE_FILE
    write_files(tmp_path, service=SERVICE_FILE.replace(*edit, 1))
    text = refusal(run, MeshDeployment, FROM_FILES)
    assert text.startswith(said[0])
    assert said[1] in text


def test_unreadable_files(run: Run, tmp_path: Path) -> None:
    """A file that is not there, is a folder or no text is named, with where paths begin."""
    write_files(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge").write_bytes(b"#" * ((1 << 20) + 1))
    for file in ("gone.yaml", "folder", "binary", "huge"):
        args: Any = {**FROM_FILES, "manifest_files": [file]}
        assert refusal(run, MeshDeployment, args).startswith(f"{file}: the file ")


@pytest.mark.parametrize(
    ("component", "args", "begin"),
    [
        (MeshDeployment, {**TYPED, "delete_image": True}, "MeshDeployment: unknown argument 'delete_image'"),
        (MeshDeployment, {"manifests": [SERVICE]}, "give either mesh_file or mesh"),
        (MeshDeployment, {**TYPED, "mesh_file": "mesh.yaml"}, "give either mesh_file or mesh"),
        (MeshDeployment, {"mesh": [MESH], "manifests": [SERVICE]}, "mesh: this is a list"),
        (MeshDeployment, {"mesh": MESH, "manifests": ["service.yaml"]}, "manifest: this is a str"),
        (MeshDeployment, {"mesh": MESH, "manifest_files": "service.yaml"}, "manifest_files: this is no list of texts"),
        (MeshDeployment, {**TYPED, "variables": {"REPO": 5}}, "variables.REPO: this is a int"),
        (MeshDeployment, {**TYPED, "variables": ["REPO"]}, "variables: this is a list"),
        (MeshDeployment, {**TYPED, "manifests": [SERVICE, SERVICE]}, "<manifest api>: build.to: two manifests build"),
        (
            MeshDeployment,
            {**TYPED, "manifests": [SERVICE, OTHER]},
            "<manifest api>: build.to: no service of the mesh uses",
        ),
        (MeshDeployment, {"mesh": MESH}, "<mesh>: services.api.image: no service manifest builds"),
        (MeshDeployment, {**TYPED, "release": "My Release"}, "release: 'My Release' cannot be the name of a Helm"),
        (MeshDeployment, ["mesh.yaml"], "args: this is a list"),
        (MeshDeployment, {**TYPED, "owners": "abc"}, "owners: this is no list of texts, but a str"),
        (MeshDeployment, {**TYPED, "owners": ["abc"]}, "owners: an owner is named by the hash of a key"),
        (MeshDeployment, {**TYPED, "adopt": "no"}, "adopt: this is no switch (True or False), but a str"),
        (MeshDeployment, {**TYPED, "rollout_timeout": "1m"}, "rollout_timeout: this is no whole number, but a str"),
        (MeshDeployment, {**TYPED, "rollout_timeout": 1.5}, "rollout_timeout: this is no whole number, but a float"),
        (MeshDeployment, {"mesh_file": 5}, "mesh_file: this is no plain text, but a int"),
        (ConfidentialImage, {"manifest_file": ["a"]}, "manifest_file: this is no plain text, but a list"),
        (ConfidentialImage, {}, "give either manifest_file or manifest"),
        (ConfidentialImage, {"manifest": SERVICE, "environment": {"SCONE_HEAP": "1G"}}, "<manifest api>: environment"),
        (ConfidentialImage, {"manifest": SERVICE, "environment": {"API_USER": None}}, "environment.API_USER: this is"),
        (CasNamespace, {"namespace": "acme"}, "CasNamespace needs namespace and cas_url"),
        (CasNamespace, {"namespace": "acme", "cas_url": "c", "tolerance": "-X"}, "tolerance: '-X' is no switch"),
        (CasNamespace, {"namespace": "acme", "mesh_file": "m"}, "mesh_file and namespace are both given"),
        (CasNamespace, {"namespace": "acme", "cas_url": "c", "owner": ["ANY"]}, "CasNamespace: unknown argument"),
    ],
)
def test_mistakes_in_the_arguments(run: Run, component: Callable[..., object], args: object, begin: str) -> None:
    """What is wrong with the arguments themselves is said in words, with what to do."""
    text = refusal(run, component, args)
    assert text.startswith(begin)
    assert "→" in text


def test_mistakes_in_typed_manifests(run: Run) -> None:
    """Typed arguments are judged by the rules of the files; the manifest is named by its image, where it has a name."""
    nameless: Any = {**TYPED, "manifests": [{"build": "api", "environment": {}}]}
    assert refusal(run, MeshDeployment, nameless).startswith(
        "<manifest>: build: must be a map\n  → Write keys below it"
    )
    named: Any = {**TYPED, "manifests": [{**SERVICE, "colour": "red"}]}
    assert refusal(run, MeshDeployment, named).startswith("<manifest api>: colour: unknown key")


def test_near_miss_is_suggested(run: Run) -> None:
    """A misspelt argument would be ignored silently otherwise: the right one is named."""
    assert "did you mean delete_images?" in refusal(run, MeshDeployment, {**TYPED, "delete_image": True})


def test_production_refuses_what_is_for_testing(run: Run, tmp_path: Path) -> None:
    """A stack for production refuses debug enclaves under a CAS without switches, and deploys what has neither."""
    mesh = MESH_FILE.replace(
        "--only_for_testing-trust-any --only_for_testing-debug --only_for_testing-ignore-signer", ""
    )
    write_files(tmp_path, mesh=mesh)
    text = refusal(run, MeshDeployment, FROM_FILES, config=PRODUCTION)
    assert text.startswith("mesh.yaml:10: policy.tolerate: this stack is for production")
    write_files(tmp_path, mesh=mesh.replace("debug-mode", "outdated-tcb"))

    def program() -> None:
        MeshDeployment("app", FROM_FILES)

    assert len(run(program, config=PRODUCTION).resources) == 9


def test_production_holds_for_policy_templates(run: Run, tmp_path: Path) -> None:
    """What the Meshfile does not tolerate, its template does not either: refused with the template's line."""
    mesh = MESH_FILE.replace("debug-mode", "outdated-tcb").replace("api:1\n", "api:1\n    image_policy: p.yaml\n")
    write_files(tmp_path, mesh=mesh.replace(SWITCHES, ""))
    template = tmp_path / "p.yaml"
    template.write_text("security:\n  attestation:\n    tolerate: [debug]\n")
    text = refusal(run, MeshDeployment, FROM_FILES, config=PRODUCTION)
    assert text.startswith("p.yaml:3: security.attestation.tolerate: this stack is for production")
    template.write_text("security:\n  attestation:\n    mode: none\n")
    text = refusal(run, MeshDeployment, FROM_FILES, config=PRODUCTION)
    assert text.startswith("p.yaml:3: security.attestation.mode: this stack is for production")


def test_production_names_every_place_at_once(run: Run, tmp_path: Path) -> None:
    """What has to go stands in one text, so that nobody finds the second place after the first is mended."""
    write_files(tmp_path)
    assert refusal(run, MeshDeployment, FROM_FILES, config=PRODUCTION) == (
        "this stack is for production (scone:production), and these are only for testing:\n"
        "    mesh.yaml:7: cas.cas.tolerance: --only_for_testing-debug, --only_for_testing-ignore-signer, "
        "--only_for_testing-trust-any\n"
        "    mesh.yaml:10: policy.tolerate: debug-mode\n"
        "  → remove them, or deploy with a stack that is for testing"
    )


def test_production_holds_for_a_namespace_alone(run: Run, tmp_path: Path) -> None:
    """A CasNamespace is refused as a mesh is, from typed arguments and from a Meshfile, with the place of each."""
    typed = {"namespace": "acme", "cas_url": "c", "tolerance": "-G --only_for_testing-debug"}
    assert refusal(run, CasNamespace, typed, config=PRODUCTION) == (
        "tolerance: this stack is for production (scone:production), and this is only for testing: "
        "--only_for_testing-debug\n  → remove it, or deploy with a stack that is for testing"
    )
    write_files(tmp_path)
    from_file = {"mesh_file": "mesh.yaml", "variables": {"REPO": "r"}}
    assert refusal(run, CasNamespace, from_file, config=PRODUCTION).startswith("mesh.yaml:7: cas.cas.tolerance: this")


def test_production_holds_for_a_policy_file(run: Run, tmp_path: Path) -> None:
    """A SecurityPolicy from a file is refused with the file's line; from a map, its provider says it."""
    text = 'name: a\nversion: "0.3.10"\nsecurity:\n  attestation:\n    tolerate: [debug]\n'
    (tmp_path / "policy.yaml").write_text(text)

    def policy(name: str, file: object) -> None:
        SecurityPolicy(name, cas={"url": "c"}, policy_file=str(file))

    found = refusal(run, policy, "policy.yaml", config=PRODUCTION)
    assert found.startswith("policy.yaml:5: security.attestation.tolerate: this stack is for production")
    assert "debug-mode" in found


@pytest.mark.parametrize("value", ["yes", "1", "True"])
def test_production_is_said_clearly(run: Run, value: str) -> None:
    """A value that is neither true nor false is refused, never taken for false."""
    text = refusal(run, CasNamespace, {"namespace": "acme", "cas_url": "c"}, config={"scone:production": value})
    assert text == "scone:production: must be true or false\n  → pulumi config set scone:production true"
