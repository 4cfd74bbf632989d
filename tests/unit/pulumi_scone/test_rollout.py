"""`rollout` of a mesh: what `overlap` adds to the graph, and that `replace` is as if there were no such argument."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_scone import MeshDeployment
from support.component_meshes import FROM_FILES, MESH_FILE, write_files
from unit.pulumi_scone.conftest import DYNAMIC, Result, Run

REVISION = "api-0123456789ab"


def deploy(run: Run, **arguments: Any) -> Result:
    """The mesh, with what a policy's `check` adds where rollouts overlap."""
    given: Any = {**FROM_FILES, **arguments}
    return run(
        lambda: MeshDeployment("app", given),
        preview=True,
        computed={DYNAMIC + "ReleasedRevision": {"hash": "ab" * 32}},
        revision=REVISION,
    )


def test_replace_is_the_default(run: Run, tmp_path: Path) -> None:
    """With `replace` and without `rollout` the same resources have the same inputs, and none knows of revisions."""
    write_files(tmp_path)
    default, given = deploy(run), deploy(run, rollout="replace")
    assert [(r.type, r.name, r.inputs) for r in default.resources] == [
        (r.type, r.name, r.inputs) for r in given.resources
    ]
    assert not [r for r in default.resources if "'revision'" in str(r.inputs) or "drain" in str(r.inputs)]


def test_overlap_names_the_revision_and_ends_after_the_rollout(run: Run, tmp_path: Path) -> None:
    """Pods ask for the revision that the policy computed; the record that ends the old one's trust waits for pods."""
    write_files(tmp_path)
    found = deploy(run, rollout="overlap")
    assert found.only(":SecurityPolicy", "app-api").inputs["overlap"] is True
    assert "overlap" not in found.only(":SecurityPolicy", "app").inputs
    (service,) = found.only(":Release").inputs["values"]["services"].values()
    assert service["configId"] == f"acme/api/{REVISION}"
    assert service["drainSeconds"] == 5
    record = found.only(":ReleasedRevision")
    assert f"{DYNAMIC}Rollout::app" in record.after
    assert record.inputs["revision"] == REVISION
    assert record.inputs["preview"] is True


@pytest.mark.parametrize(
    ("edit", "arguments", "said"),
    [
        (("", ""), {"rollout": "slowly"}, "slowly is no kind of rollout"),
        (("    cas_url: cas.default", "    cas_url: cas.default\n    mode: NoUpload"), {}, "the mode is NoUpload"),
    ],
)
def test_what_cannot_overlap(
    run: Run, tmp_path: Path, edit: tuple[str, str], arguments: dict[str, str], said: str
) -> None:
    """Another word, or policies that somebody else uploads, are refused before anything is registered."""
    write_files(tmp_path, mesh=MESH_FILE.replace(*edit) if edit[0] else MESH_FILE)
    with pytest.raises(pulumi.RunError, match=said):
        deploy(run, **{"rollout": "overlap", **arguments})


def test_places_of_services_are_names_and_lines(run: Run, tmp_path: Path) -> None:
    """Errors of a rollout name manifest lines; state gets no folder of whoever deploys."""
    write_files(tmp_path)
    absolute = {"mesh_file": str(tmp_path / "mesh.yaml"), "manifest_files": [str(tmp_path / "service.yaml")]}
    (service,) = deploy(run, **absolute).only(":Rollout").inputs["services"].values()
    lines = MESH_FILE.splitlines()
    assert service["where"].startswith(f"mesh.yaml:{lines.index('  - name: api') + 1}, service.yaml:")
    assert str(tmp_path) not in service["where"]


def test_what_the_policies_of_services_hold(run: Run, tmp_path: Path) -> None:
    """The rollout keeps names and what CAS generates, of policies that this stack retires; never a value."""
    write_files(tmp_path)
    assert deploy(run).only(":Rollout").inputs["policies"] == {
        "api": {"name": "acme/api", "generated": ["secrets.password"]}
    }
    write_files(
        tmp_path,
        mesh=MESH_FILE.replace("    cas_url: cas.default", "    cas_url: cas.default\n    mode: SignedManifest"),
    )
    assert deploy(run).only(":Rollout").inputs["policies"] == {}
