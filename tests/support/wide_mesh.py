"""A mesh of many services from one small image: how long a preview, an `up` and one without changes take."""

import time
from collections.abc import Callable, Mapping

from support.mesh import MeshProject

_MESH = """\
apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: [image, security, access, attestation]
    cas_url: $CAS_URL
    tolerance: "--only_for_testing-trust-any --only_for_testing-debug --only_for_testing-ignore-signer -C -G -S"
policy:
  namespace: {namespace}
  tolerate: "debug-mode, outdated-tcb, software-hardening-needed, insecure-configuration"
env:
  - service: global
    env:
      - {{name: imagePullSecrets, value: ""}}
{greetings}
services:
{services}
"""
_MANIFEST = """\
apiVersion: scone/5.8
kind: genservice
environment:
  global:
    - {name: GREETING, value: none}
secrets:
  local:
    - {name: token, kind: ascii, size: 20}
build:
  name: sleeper
  kind: python
  to: $APP_IMAGE_REPO/sleeper:1
  pwd: /python
  command: python3 sleeper.py
  copy: [sleeper.py]
"""
_PROGRAM = """\
import os, signal, time

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("Hello", os.environ["GREETING"], flush=True)
while True:
    time.sleep(3600)
"""
_TIMEOUT = 500


def write(project: MeshProject, count: int) -> None:
    """Put a mesh of `count` services in the place of the project's example."""
    names = [f"s{number}" for number in range(count)]
    text = _MESH.format(
        namespace=project.cas_namespace,
        greetings="\n".join(
            f"  - service: {name}\n    env:\n      - {{name: GREETING, value: first-{name}}}" for name in names
        ),
        services="\n".join(f"  - {{name: {name}, image: $APP_IMAGE_REPO/sleeper:1}}" for name in names),
    )
    project.longest = 2 * _TIMEOUT
    (project.program / "mesh.yaml").write_text(text)
    (project.program / "service.yaml").write_text(_MANIFEST)
    (project.program / "sleeper.py").write_text(_PROGRAM)
    project.edit(
        "__main__.py", '    "hello",\n    {\n', f'    "hello",\n    {{\n        "rollout_timeout": {_TIMEOUT},\n'
    )


def measure(project: MeshProject) -> Mapping[str, float]:
    """Step → seconds: the first preview and `up`, both without a change, and an `up` that changes one service."""
    seconds: dict[str, float] = {}

    def timed(step: str, run: Callable[[], object]) -> None:
        before = time.perf_counter()
        run()
        seconds[step] = time.perf_counter() - before

    timed("first preview", project.preview)
    timed("first up", project.up)
    timed("preview, no change", project.preview)
    timed("up, no change", project.up)
    project.edit("mesh.yaml", "first-s0}", "second-s0}")
    timed("up, one service", project.up)
    return seconds


def told(count: int, seconds: Mapping[str, float]) -> str:
    """One line per step."""
    return "\n".join(f"{count} services, {step:20} {took:6.1f} s" for step, took in seconds.items())
