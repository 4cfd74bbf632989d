"""Policies against as many trivial dynamic resources: up, no-op preview, refresh and destroy, in one run.

`PYTHONPATH=tests python3 -m bench.policies [-n 100] [--rounds 3]` from the repository's root, with the toolchain that
`make up` makes. Both programs run in one engine on file backends; rounds alternate, so that both meet one machine.
A policy has a service and a generated secret, and goes to an embedded CAS with its audit log on.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.attest import ENOUGH, ROOT, serving
from tools.devstack.paths import Paths
from tools.devstack.variables import environment

from scone_provider.cas.identity import Identity
from support.pulumi_project import PulumiProject

IMAGE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TRIVIAL_PROVIDER = """
from pulumi.dynamic import CreateResult, ResourceProvider

class Trivial(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        return CreateResult(props["name"], props)
"""
TRIVIAL = """
from pulumi.dynamic import Resource
from trivial import Trivial

class Thing(Resource, module="bench", name="Thing"):
    pass

for number in range({count}):
    Thing(Trivial(), f"thing-{{number}}", {{"name": f"thing-{{number}}", "size": number}})
"""
POLICIES = """
import pulumi
from pulumi_scone import SecurityPolicy

cas = {{"url": pulumi.Config("bench").require("cas"), "tolerance": dict.fromkeys({switches!r}.split(), True)}}
for number in range({count}):
    SecurityPolicy(
        f"policy-{{number}}",
        cas=cas,
        policy={{
            "name": f"bench-{{number}}",
            "version": "0.3.10",
            "secrets": {{"token": {{"kind": "ascii", "size": 32}}}},
            "services": {{
                "api": {{
                    "command": "/app/api --port 8080",
                    "environment": {{"TOKEN": "$$SCONE::token$$", "NUMBER": str(number)}},
                    "attestation": {{"mrenclave": "ab" * 32}},
                }}
            }},
        }},
    )
"""
STEPS: Mapping[str, Callable[[PulumiProject], object]] = {
    "up": lambda project: project.up(),
    "no-op preview": lambda project: project.pulumi("preview", "--color=never"),
    "refresh": lambda project: project.pulumi("refresh", "--yes", "--skip-preview", "--color=never"),
    "destroy": lambda project: project.destroy(),
}


def main() -> int:
    """Print seconds of both programs and the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=100, help="resources (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = environment(Paths.of(), work=place, environ={"PATH": os.environ["PATH"]})
        sources = f"{ROOT / 'components'}:{ROOT / 'provider'}"
        variables = {**found, "HOME": folder, "LANG": "C.UTF-8", "PYTHONPATH": sources}
        variables.pop("KUBECONFIG", None)
        variables.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        state = place / "state"
        with serving(["-m", "scone_cas", "serve", "--state", str(state), "--rate", "1000000"]) as cas:
            secrets = {
                "scone:imageKey": IMAGE_KEY,
                "scone:identity": Identity.create(common_name="bench", now=datetime.now(UTC)).to_pem(),
            }
            projects = {
                "policies": project(
                    place / "policies",
                    POLICIES.format(count=options.n, switches=ENOUGH),
                    variables,
                    config={"bench:cas": cas["client"]},
                    secrets=secrets,
                ),
                "trivial": project(place / "trivial", TRIVIAL.format(count=options.n), variables),
            }
            times: dict[str, dict[str, list[float]]] = {name: {step: [] for step in STEPS} for name in projects}
            for _ in range(options.rounds):
                for step, run in STEPS.items():
                    for name, each in projects.items():
                        before = time.perf_counter()
                        run(each)
                        times[name][step].append(time.perf_counter() - before)
    for step in STEPS:
        ours, floor = (median(times[name][step]) for name in ("policies", "trivial"))
        print(f"{step:14} {options.n} policies {ours:6.2f} s   trivial {floor:6.2f} s   ratio {ours / floor:.2f}")
    return 0


def project(
    folder: Path,
    program: str,
    variables: Mapping[str, str],
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> PulumiProject:
    """A project with a stack."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
    (folder / "__main__.py").write_text(program)
    (folder / "trivial.py").write_text(TRIVIAL_PROVIDER)
    made = PulumiProject(folder, environment=variables)
    made.init(config or {"bench:none": "none"}, secrets or {})
    return made


if __name__ == "__main__":
    sys.exit(main())
