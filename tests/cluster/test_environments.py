"""`examples/environments`: one mesh as dev and stage on a CAS each; prod refuses what those two tolerate."""

import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tools.devstack.paths import REGISTRY

from support.embedded_cas import EmbeddedCas
from support.pulumi_project import PulumiProject

EXAMPLE = Path(__file__).parents[2] / "examples" / "environments"
STAGE_ADDRESS = "10.123.0.3"  # the second CAS, beside the tests' first one
STACKS = ("dev", "stage", "prod")
TESTING = ("--only_for_testing-debug", "--only_for_testing-ignore-signer", "--only_for_testing-trust-any")
POLICY = "pulumi-python:dynamic/scone:SecurityPolicy::shop-api"
CAS = "pulumi-python:dynamic/scone:Cas::shop"


class Environment(PulumiProject):
    """One stack of the example, as it stands in the repository but for addresses and names."""

    def __init__(self, folder: Path, *, stack: str, environment: dict[str, str], suffix: str) -> None:
        super().__init__(folder, environment={**environment})
        self.stack, self.namespace = stack, f"shop-{stack}-{suffix}"
        self.environment["PULUMI_STACK"] = stack
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self.pulumi("stack", "init", stack)
        self.pulumi("config", "set", "environments:kubernetesNamespace", self.namespace)
        self.give(REGISTRY=f"{REGISTRY}/{self.namespace}")

    def give(self, **variables: str) -> None:
        """Set variables of the manifests, as a person would."""
        for name, value in variables.items():
            self.pulumi("config", "set", "--path", f"environments:variables.{name}", "--plaintext", stdin=value)

    def given(self, name: str) -> str:
        """A variable, as the stack has it."""
        return self.pulumi("config", "get", "--path", f"environments:variables.{name}").text.strip()

    def deploy(self, cas: EmbeddedCas) -> None:
        """To that CAS."""
        self.run("kubectl", "create", "namespace", self.namespace)
        self.give(CAS_URL=cas.host)
        self.run("pulumi-scone", "identity", "create")
        self.up()

    def pods(self) -> list[dict[str, Any]]:
        """The pods of the service."""
        return json.loads(self.run("kubectl", "-n", self.namespace, "get", "pods", "-o", "json"))["items"]

    def wait_until_gone(self) -> None:
        """Until no pod of the service is left: Kubernetes removes them in its own time."""
        self.run("kubectl", "-n", self.namespace, "wait", "pods", "--all", "--for=delete", "--timeout=60s")

    def answers(self) -> list[dict[str, str]]:
        """What each pod answers over HTTP, in the order of their names."""
        addresses = [pod["status"]["podIP"] for pod in self.pods()]
        return [httpx.get(f"http://{address}:8080/", timeout=10).json() for address in addresses]

    def remove(self) -> None:
        """Whatever is left of it."""
        self.destroy(check=False)
        self.run("kubectl", "delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def environments(
    stack_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Environment]]:
    """The three stacks in one copy of the example, nothing deployed."""
    folder = tmp_path_factory.mktemp("environments") / "project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pulumi-scone"))
    suffix = secrets.token_hex(3)
    yield {stack: Environment(folder, stack=stack, environment=stack_environment, suffix=suffix) for stack in STACKS}
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stage_cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCas]:
    """The CAS of stage: it knows nothing of the one of dev."""
    subprocess.run(["ip", "address", "replace", f"{STAGE_ADDRESS}/32", "dev", "scone0"], check=True)
    server = EmbeddedCas(tmp_path_factory.mktemp("stage"), host=STAGE_ADDRESS)
    server.start()
    yield server
    server.stop()
    subprocess.run(["ip", "address", "del", f"{STAGE_ADDRESS}/32", "dev", "scone0"], check=True)


@pytest.fixture(scope="module")
def deployed(
    environments: dict[str, Environment], cas: EmbeddedCas, stage_cas: EmbeddedCas
) -> Iterator[tuple[Environment, Environment]]:
    """Dev and stage, up at the same time."""
    dev, stage = environments["dev"], environments["stage"]
    try:
        dev.deploy(cas)
        stage.deploy(stage_cas)
        yield dev, stage
    finally:
        dev.remove()
        stage.remove()


def test_each_environment_has_its_own_values(deployed: tuple[Environment, Environment]) -> None:
    """Both answer with what their stack gives them; replicas share their CAS's token, environments do not."""
    dev, stage = deployed
    (of_dev,), of_stage = dev.answers(), stage.answers()
    assert (of_dev["stage"], of_dev["greeting"]) == ("dev", "Hello, developer")
    assert [answer["stage"] for answer in of_stage] == ["stage", "stage"]
    assert of_stage[0]["greeting"] == "Hello, tester"
    assert of_stage[0] == of_stage[1]
    assert of_dev["token_checksum"] != of_stage[0]["token_checksum"]


def test_each_environment_has_its_own_trust(deployed: tuple[Environment, Environment]) -> None:
    """CAS, key, namespace and what is tolerated differ, as each state says; a second up does nothing."""
    dev, stage = (environment.resources() for environment in deployed)
    assert dev[CAS]["outputs"]["url"] != stage[CAS]["outputs"]["url"] == STAGE_ADDRESS
    assert dev[CAS]["outputs"]["attested_key"] != stage[CAS]["outputs"]["attested_key"]
    assert set(dev[CAS]["inputs"]["tolerance"]) == {*TESTING, "-C", "-G", "-S"}
    assert set(stage[CAS]["inputs"]["tolerance"]) == set(TESTING)
    assert (dev[POLICY]["inputs"]["name"], stage[POLICY]["inputs"]["name"]) == ("shop-dev/api", "shop-stage/api")
    assert set(stage[POLICY]["inputs"]["policy"]["security"]["attestation"]["tolerate"]) == {"debug-mode"}
    assert [environment.preview_steps() for environment in deployed] == [{}, {}]


def test_prod_refuses_what_dev_tolerates(environments: dict[str, Environment]) -> None:
    """Dev's values in the stack for production: the preview ends before anything is planned, and names each of them."""
    dev, prod = environments["dev"], environments["prod"]
    kept = {name: prod.given(name) for name in ("TOLERANCE", "TOLERATE")}
    prod.give(**{name: dev.given(name) for name in kept})
    try:
        refused = prod.preview(check=False)
    finally:
        prod.give(**kept)
    assert refused.status != 0
    assert (
        "this stack is for production (scone:production), and these are only for testing:\n"
        f"    mesh.yaml:10: cas.cas.tolerance: {', '.join(TESTING)}\n"
        "    mesh.yaml:14: policy.tolerate: debug-mode\n"
        "  → remove them, or deploy with a stack that is for testing" in refused.text.replace("\n      ", "\n    ")
    )
    assert "Traceback" not in refused.text
    assert "SecurityPolicy" not in refused.text


def test_prod_is_previewed_without_its_cas(environments: dict[str, Environment]) -> None:
    """Without network, keys or hardware, prod's preview shows its own CAS, pin, values and what SGX needs."""
    prod = environments["prod"]
    pin = prod.given("CAS_KEY")
    shown = re.sub(" +:", ":", prod.offline_preview())
    expected = ('url: "cas.prod.example.com"', f'key: "{pin}"', 'STAGE: "prod"', 'GREETING: "Welcome"', "replicas: 3")
    assert [text for text in expected if text not in shown] == []
    assert 'sgx: "scone"' in shown  # the device plug-in; disabled where a debug CAS is tolerated
    assert "only_for_testing" not in shown
    assert "debug-mode" not in shown


def test_destroy_leaves_nothing(deployed: tuple[Environment, Environment]) -> None:
    """One environment goes while the other one stays up; then that goes, too."""
    dev, stage = deployed
    stage.destroy()
    assert stage.resources() == {}
    stage.wait_until_gone()
    assert [answer["stage"] for answer in dev.answers()] == ["dev"]
    dev.destroy()
    assert dev.resources() == {}
