"""Records what a release leaves in Pulumi's state, so that every later one can be asked what it makes of it.

    python3 tests/upgrade/record.py 0.2.0     in the checkout of that release, with the development stack up

deploys the programs below, keeps program, settings and exported state in tests/upgrade/<release>/<program>, and takes
the deployments away again. Keys are made for the recording and open nothing.
"""

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (ROOT, ROOT / "components", ROOT / "provider", ROOT / "tests"):
    sys.path.insert(0, str(folder))

import os  # noqa: E402

from tools.devstack.paths import REGISTRY, Paths  # noqa: E402
from tools.devstack.variables import environment  # noqa: E402

from support.embedded_cas import TOLERANCE, EmbeddedCas  # noqa: E402
from support.mesh import MeshProject  # noqa: E402
from support.pulumi_project import PulumiProject  # noqa: E402

ADDRESS = "10.123.0.9"
_NOT_FILES = shutil.ignore_patterns("__pycache__", ".pulumi-scone", "Pulumi.prod.yaml", "Pulumi.stage.yaml")
POLICIES = f'''"""Every resource alone: a namespace, an image, and policies with what is generated, given and kept."""

import pulumi

from pulumi_scone import Cas, CasNamespace, ConfidentialImage, SecurityPolicy

TOLERANCE = "{TOLERANCE}"
config = pulumi.Config()
url, name = config.require("casUrl"), config.require("casNamespace")
namespace = CasNamespace("app", {{"namespace": name, "cas_url": url, "tolerance": TOLERANCE}})
image = ConfidentialImage(
    "app",
    {{
        "manifest": {{
            "apiVersion": "scone/5.8",
            "kind": "genservice",
            "environment": {{"local": [{{"name": "USER", "value": "myself"}}]}},
            "build": {{
                "kind": "python",
                "name": "app",
                "to": config.require("imageRepo") + "/app:1",
                "command": "python3 /app/main.py",
                "pwd": "/app",
                "copy": ["main.py"],
            }},
        }}
    }},
)
service = {{
    "command": "python3 /app/main.py",
    "environment": {{"USER": "myself", "TOKEN": "$$SCONE::given$$"}},
    "attestation": {{"mrenclave": image.measurement}},
    "pwd": "/app",
}}
plain = {{
    "name": name + "/plain",
    "version": "0.3.10",
    "secrets": {{
        "generated": {{"kind": "ascii", "size": 10}},
        "given": {{"kind": "ascii", "value": config.require_secret("given")}},
        "key": {{"kind": "private-key", "migrate": True}},
    }},
    "services": {{"app": service}},
}}
after = pulumi.ResourceOptions(depends_on=[namespace])
SecurityPolicy("plain", cas=namespace.trust, policy=plain, opts=after)
'''
MAIN = "print('up')\n"


class Alone(PulumiProject):
    """The program above, with a stack and an identity."""

    def __init__(self, folder: Path, *, variables: dict[str, str], cas: EmbeddedCas) -> None:
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text("name: alone\nruntime: python\n")
        (folder / "__main__.py").write_text(POLICIES)
        (folder / "main.py").write_text(MAIN)
        super().__init__(folder, environment=variables)
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        suffix = secrets.token_hex(3)
        given = {"casUrl": cas.host, "casNamespace": f"upgrade-{suffix}", "imageRepo": f"{REGISTRY}/upgrade-{suffix}"}
        self.init({f"alone:{key}": value for key, value in given.items()}, {"alone:given": "given-value"})
        self.run("pulumi-scone", "identity", "create")

    def remove(self) -> None:
        """Take the deployment away."""
        self.destroy(check=False)


def programs(folder: Path, cas: EmbeddedCas, variables: dict[str, str]) -> list[MeshProject | Alone]:
    """All projects, made but not deployed."""
    made: list[MeshProject | Alone] = [Alone(folder / "alone", variables=variables, cas=cas)]
    for example in ("hello-python", "flask-redis", "native-image"):
        suffix = secrets.token_hex(3)
        made.append(
            MeshProject(
                folder / example,
                environment=variables,
                cas=cas,
                repository=f"{REGISTRY}/upgrade-{suffix}",
                kubernetes_namespace=f"upgrade-{suffix}",
                cas_namespace=f"upgrade-{suffix}",
                example=example,
            )
        )
    return made


def keep(project: PulumiProject, target: Path) -> None:
    """Program, settings and state of a deployed project."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(project.folder, target, ignore=_NOT_FILES)
    (target / "state.json").write_text(json.dumps(project.state(), indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Record under the name that the command line gives."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("release")
    release = options.parse_args().release
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "scone0"], check=True)
    with tempfile.TemporaryDirectory(prefix="recording-") as name:
        folder = Path(name)
        found = environment(Paths.of(), work=folder / "work", environ={"PATH": os.environ["PATH"]})
        sources = os.pathsep.join(str(ROOT / part) for part in ("components", "provider"))
        (folder / "home").mkdir()
        variables = {**found, "PYTHONPATH": sources, "HOME": str(folder / "home"), "LANG": "C.UTF-8"}
        cas = EmbeddedCas(folder / "cas", host=ADDRESS)
        cas.start()
        try:
            for project in programs(folder, cas, variables):
                sys.stdout.write(f"{project.folder.name}: up\n")
                try:
                    project.up()
                    keep(project, HERE / release / project.folder.name)
                finally:
                    project.remove()
        finally:
            cas.stop()
            subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "scone0"], check=True)


if __name__ == "__main__":
    main()
