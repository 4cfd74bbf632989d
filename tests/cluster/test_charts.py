"""What a mesh may change about its chart: a service's own chart, and volumes that outlive their pods."""

from collections.abc import Callable

import pytest

from support.mesh import MeshProject

OWN = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: mine-{{ .Release.Name }}
spec:
  selector:
    matchLabels:
      {{- include "scone.selector" (dict "root" $ "name" .Values.name) | nindent 6 }}
  template:
    {{- $pod := dict "root" $ "name" .Values.name "service" .Values "restartPolicy" "Always" }}
    {{- include "scone.pod" $pod | nindent 4 }}
"""
CLAIM = """
helm_extra_values: |
  services: {pythonapp: {volumes: {data: {path: /data, size: 1Mi, storageClass: none}}}}
"""


@pytest.fixture
def mesh(new_mesh: Callable[..., MeshProject]) -> MeshProject:
    """The example, not deployed yet."""
    return new_mesh()


def test_own_chart_of_a_service(mesh: MeshProject) -> None:
    """The service runs from its own chart, made with our pod; ours makes neither workload nor policy for it."""
    templates = mesh.program / "mine" / "templates"
    templates.mkdir(parents=True)
    (templates.parent / "Chart.yaml").write_text("apiVersion: v2\nname: anything\nversion: 0.0.1\n")
    (templates / "deployment.yaml").write_text(OWN)
    mesh.edit("mesh.yaml", "python_hello_user:1\n", "python_hello_user:1\n    helm_chart: mine\n")
    mesh.up()
    assert mesh.workload() == "mine-hello"
    assert mesh.get("networkpolicies") == []
    assert "Integrity OK" in mesh.log_until("Integrity OK")
    assert mesh.preview_steps() == {}
    (templates / "deployment.yaml").write_text(OWN.replace("name: mine-", "name: other-"))
    assert set(mesh.preview_steps()) == {"kubernetes:helm.sh/v3:Release::hello"}


def test_kept_volume_is_a_claim(mesh: MeshProject) -> None:
    """A volume with a size is a claim, and its service replaced instead of rolled; that nothing fills it is said."""
    with (mesh.program / "mesh.yaml").open("a") as file:
        file.write(CLAIM)
    mesh.edit("__main__.py", '        "delete_images"', '        "rollout_timeout": 3,\n        "delete_images"')
    done = mesh.up(check=False)
    assert done.status != 0
    assert "service pythonapp: not ready after 3 s" in done.text
    (claim,) = mesh.get("persistentvolumeclaims")
    assert claim["spec"]["resources"]["requests"] == {"storage": "1Mi"}
    assert claim["spec"]["storageClassName"] == "none"
    assert claim["metadata"]["annotations"]["scone/volume"] == "data"
    (deployment,) = mesh.get("deployments")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert {"name": volume["name"], "mountPath": "/data"} in pod["containers"][0]["volumeMounts"]
