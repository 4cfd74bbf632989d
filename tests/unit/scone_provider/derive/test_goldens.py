"""What whole meshes become, in files that a person can read (remade with `pytest --remake-goldens`)."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scone_provider.derive import MeshPlan
from scone_provider.manifest import load_mesh, load_service
from support.derive_meshes import OWNER, SHOP_IMAGES, derive, facts, shop

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[3] / "examples" / "hello-python"


def hello() -> MeshPlan:
    """The example, as `make demo` deploys it."""
    variables = {"CAS_URL": "cas.default", "APP_IMAGE_REPO": "localhost:5000/demo"}
    service = load_service((EXAMPLE / "service.yaml").read_text(), file="service.yaml", variables=variables)
    mesh = load_mesh((EXAMPLE / "mesh.yaml").read_text(), file="mesh.yaml", variables=variables)
    images = {"pythonapp": facts("demo/python_hello_user", "/python")}
    return derive(mesh, {"pythonapp": service}, images, release="hello", policy_digests={"pythonapp": "0123"})


def two_services() -> MeshPlan:
    """A shop whose web front takes a secret from its database."""
    mesh, services = shop()
    return derive(mesh, services, SHOP_IMAGES, release="shop", owners=[OWNER])


@pytest.mark.parametrize(("name", "plan"), [("hello", hello), ("shop", two_services)])
def test_plans_are_as_recorded(name: str, plan: Callable[[], MeshPlan], golden: Callable[[Path, str], None]) -> None:
    """Policies, imports, chart values and warnings of a mesh change only where a reviewer sees it."""
    found = plan()
    tree = {
        "namespace": found.namespace,
        "namespace_policy": found.namespace_policy,
        "policies": found.policies,
        "imports": {service: list(policies) for service, policies in found.imports.items()},
        "chart": found.chart,
        "warnings": list(found.warnings),
    }
    golden(HERE / "goldens" / f"{name}.yaml", yaml.safe_dump(tree, sort_keys=True, width=110, allow_unicode=True))


def test_same_input_same_plan() -> None:
    """Derivation depends on nothing but its arguments."""
    assert two_services() == two_services()
