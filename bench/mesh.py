"""A mesh of many services on the development stack: seconds of preview, `up` and no change.

`PYTHONPATH=tests python3 -m bench.mesh [-n 50]` from the repository's root, as root, with the stack that `make up`
makes. All services run one small image; pods attest to an embedded CAS of the run's own. All is removed at the end.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.attest import ROOT
from tools.devstack.paths import REGISTRY, Paths
from tools.devstack.variables import environment

from support import wide_mesh
from support.embedded_cas import EmbeddedCas
from support.mesh import MeshProject

ADDRESS = "10.123.0.4"  # a CAS beside the demo's and the tests'


def main() -> int:
    """Print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=50, help="services (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, suffix = Path(folder), secrets.token_hex(3)
        variables = environment(Paths.of(), work=place, environ={"PATH": os.environ["PATH"]})
        sources = f"{ROOT / 'components'}:{ROOT / 'provider'}"
        subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "scone0"], check=True)
        cas = EmbeddedCas(place / "cas", host=ADDRESS)
        cas.start()
        try:
            project = MeshProject(
                place / "project",
                environment={**variables, "HOME": folder, "LANG": "C.UTF-8", "PYTHONPATH": sources},
                cas=cas,
                repository=f"{REGISTRY}/bench-{suffix}",
                kubernetes_namespace=f"bench-{suffix}",
                cas_namespace=f"bench-{suffix}",
            )
            try:
                wide_mesh.write(project, options.n)
                print(wide_mesh.told(options.n, wide_mesh.measure(project)))
            finally:
                project.remove()
        finally:
            cas.stop()
            subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "scone0"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
