"""One mesh, as files and as typed Python arguments."""

from pathlib import Path

from pulumi_scone import MeshArgs, MeshDeploymentArgs, ServiceManifestArgs

SWITCHES = "--only_for_testing-trust-any --only_for_testing-debug --only_for_testing-ignore-signer"
MESH_FILE = f"""apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: ["image", "security", "access", "attestation"]
    cas_url: cas.default
    tolerance: "{SWITCHES}"
policy:
  namespace: acme
  tolerate: "debug-mode"
env:
  - service: global
    env:
      - name: API_USER
        value: myself
      - name: APP_SERVICE_PORT
        value: 443
services:
  - name: api
    image: $REPO/team/api:1
"""
SERVICE_FILE = """apiVersion: scone/5.8
kind: genservice
environment:
  local:
    - name: SCONE_HEAP
      value: 64M
    - name: API_PASSWORD
      value: "$$SCONE::password$$"
  global:
    - name: API_USER
secrets:
  local:
    - name: password
      kind: ascii
      size: 10
build:
  name: api
  kind: python
  to: $REPO/team/api:1
  pwd: /app
  command: python3 api.py
  copy:
    - api.py
"""
MESH: MeshArgs = {
    "cas": [
        {
            "name": "cas",
            "alias": ["image", "security", "access", "attestation"],
            "cas_url": "cas.default",
            "tolerance": SWITCHES,
        }
    ],
    "policy": {"namespace": "acme", "tolerate": "debug-mode"},
    "env": [
        {
            "service": "global",
            "env": [{"name": "API_USER", "value": "myself"}, {"name": "APP_SERVICE_PORT", "value": "443"}],
        }
    ],
    "services": [{"name": "api", "image": "localhost:5000/team/api:1"}],
}
SERVICE: ServiceManifestArgs = {
    "environment": {
        "local": [{"name": "SCONE_HEAP", "value": "64M"}, {"name": "API_PASSWORD", "value": "$$SCONE::password$$"}],
        "global": [{"name": "API_USER"}],
    },
    "secrets": {"local": [{"name": "password", "kind": "ascii", "size": 10}]},
    "build": {
        "name": "api",
        "kind": "python",
        "to": "localhost:5000/team/api:1",
        "pwd": "/app",
        "command": "python3 api.py",
        "copy": ["api.py"],
    },
}
FROM_FILES: MeshDeploymentArgs = {
    "mesh_file": "mesh.yaml",
    "manifest_files": ["service.yaml"],
    "variables": {"REPO": "localhost:5000"},
}
TYPED: MeshDeploymentArgs = {"mesh": MESH, "manifests": [SERVICE]}


def write_files(folder: Path, *, mesh: str = MESH_FILE, service: str = SERVICE_FILE) -> None:
    """Both manifests, in a project's folder."""
    (folder / "mesh.yaml").write_text(mesh)
    (folder / "service.yaml").write_text(service)
