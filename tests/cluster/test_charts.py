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
    changed = {"kubernetes:helm.sh/v3:Release::hello", "pulumi-python:dynamic/scone:Rollout::hello"}
    assert set(mesh.preview_steps()) == changed


def test_kept_volume_is_a_claim(mesh: MeshProject) -> None:
    """A volume with a size is a claim, and its service replaced instead of rolled; that nothing fills it is said."""
    with (mesh.program / "mesh.yaml").open("a") as file:
        file.write(CLAIM)
    mesh.edit("__main__.py", '        "delete_images"', '        "rollout_timeout": 3,\n        "delete_images"')
    done = mesh.up(check=False)
    assert done.status != 0
    assert "no node takes the pod: " in done.text
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


def test_volume_that_lives_as_long_as_its_pod(mesh: MeshProject) -> None:
    """A volume of the manifest is mounted where it says, takes what is written, and is said to be readable."""
    mesh.edit("service.yaml", "  copy:\n", "  volumes: [{name: data, path: /data}]\n  copy:\n")
    done = mesh.up()
    assert "the volume data of the service pythonapp is not encrypted in software mode" in done.text
    mesh.log_until("Integrity OK")
    mesh.kube("exec", mesh.pod(), "--", "python3", "-c", "open('/data/kept', 'w').write('here')")
    assert mesh.kube("exec", mesh.pod(), "--", "python3", "-c", "print(open('/data/kept').read())") == "here\n"
