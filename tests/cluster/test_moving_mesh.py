"""One deployed mesh through all that Pulumi can do with resources: its secrets, its pods, its release stay."""

import re
from collections.abc import Callable, Mapping

import pytest

from support.kubernetes_api import kubeconfig, kubernetes_api
from support.mesh import MeshProject

RELEASE = "kubernetes:helm.sh/v3:Release"
ROLLOUT = "pulumi-python:dynamic/scone:Rollout"
POLICY = "pulumi-python:dynamic/scone:SecurityPolicy"
GROUP = """

class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Group", name)


def cluster(name, path, **opts):
    with open(path) as file:
        return kubernetes.Provider(name, kubeconfig=pulumi.Output.secret(file.read()), opts=Opts(**opts))


Alias, Opts, ROOT = pulumi.Alias, pulumi.ResourceOptions, pulumi.ROOT_STACK_RESOURCE
config = """
NOTHING = "import pulumi\n"
SETTINGS = ("casUrl", "imageRepo", "kubernetesNamespace")
KEYS = ("scone:imageKey", "scone:identity")


class MovingMesh(MeshProject):
    """The example under any name and any options, with the checksum of the secret that its pod was given."""

    original = ""
    checksum = ""
    name = "hello"

    def write(self, opts: str = "", *, name: str = "", **more: str) -> None:
        """The program: the mesh with options, and arguments beside the example's own."""
        name = name or self.name
        self.original = self.original or (self.program / "__main__.py").read_text()
        text = self.original.replace("import pulumi\n", "import pulumi\nimport pulumi_kubernetes as kubernetes\n", 1)
        text = text.replace("\nconfig = ", GROUP, 1).replace('"hello",', f'"{name}",')
        arguments = "".join(f'        "{key}": {value},\n' for key, value in {"release": '"fixed"', **more}.items())
        text = text.replace("    },\n)\n", f"{arguments}    }},\n    Opts({opts}),\n)\n")
        (self.program / "__main__.py").write_text(text)

    def whole_up(self, *options: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """`pulumi up` as people run it: what the preview refuses is not begun."""
        done = self.pulumi("up", "--yes", "--color=never", *options, check=False, environment=environment)
        return done.status, done.text

    def carried_out(self, *options: str) -> dict[str, int]:
        """A whole `up`, which must succeed and retire nothing: how many resources were created, updated, …"""
        status, text = self.whole_up(*options)
        assert status == 0, text
        assert "was retired" not in text
        counts = re.findall(r"^ +[-+~]+ ?(\d+) (created|updated|replaced|deleted)$", text, re.MULTILINE)
        return {what: int(number) for number, what in counts}

    def urn(self, key: str) -> str:
        """Of a resource in the state."""
        return str(self.resources()[key]["urn"])

    def given(self) -> str:
        """The checksum of the secret that the newest pod has."""
        (found,) = set(re.findall(r"API_PASSWORD = '(\w{64})'", self.log_until("Integrity OK")))
        return str(found)

    def assert_settled(self) -> None:
        """Pods start after a restart with the secret that they had, and a preview that looks has nothing to say."""
        self.kube("rollout", "restart", "deployment")
        self.kube("rollout", "status", "deployment", "--timeout=60s")
        assert self.given() == self.checksum
        text = self.pulumi("preview", "--refresh", "--diff", "--color=never").text
        for word in ("to create", "to update", "to delete", "to replace", "changed since", "belongs to", "error"):
            assert word not in text, text


@pytest.fixture(scope="module")
def mesh(new_mesh: Callable[..., MeshProject]) -> MovingMesh:
    """The example, deployed as a release of a name that is not its component's."""
    project = new_mesh(kind=MovingMesh)
    assert isinstance(project, MovingMesh)
    project.write()
    project.up()
    project.checksum = project.given()
    return project


def test_another_parent(mesh: MovingMesh) -> None:
    """Put below a component: refused in the preview with the alias that makes it no change; with that it is none."""
    mesh.write('parent=Group("g")')
    status, text = mesh.whole_up()
    assert status != 0
    assert "aliases=[pulumi.Alias(parent=its old parent)]" in text
    assert "Traceback" not in text
    mesh.write('parent=Group("g"), aliases=[Alias(parent=ROOT)]')
    assert mesh.carried_out() == {"created": 1}
    mesh.assert_settled()


def test_taints(mesh: MovingMesh) -> None:
    """All but the release, which nothing may replace (test_release_owners): made anew at once, and nothing is lost."""
    urns = [one["urn"] for key, one in mesh.resources().items() if "dynamic/scone" in key]
    assert len(urns) == 5
    mesh.pulumi("state", "taint", *urns, "--yes")
    assert mesh.carried_out() == {"replaced": 5}
    mesh.assert_settled()


def test_targets(mesh: MovingMesh) -> None:
    """The release alone has nothing to do without its policy; the policy alone leaves the rest to a later `up`, which
    the preview says; and nothing that others need is destroyed alone.
    """
    mesh.edit("mesh.yaml", "value: myself", "value: somebody")
    release, policy = mesh.urn(f"{RELEASE}::{mesh.name}"), mesh.urn(f"{POLICY}::{mesh.name}-pythonapp")
    assert mesh.carried_out("--target", release) == {}
    assert mesh.carried_out("--target", policy) == {"updated": 1}
    mesh.kube("rollout", "restart", "deployment")
    mesh.kube("rollout", "status", "deployment", "--timeout=60s")
    assert "Hello, 'somebody'" in mesh.log_until("Integrity OK")
    left = {name: step["op"] for name, step in mesh.preview_steps().items()}
    assert left == {f"{RELEASE}::{mesh.name}": "update", f"{ROLLOUT}::{mesh.name}": "update"}
    refused = mesh.pulumi("destroy", "--yes", "--color=never", "--target", policy, check=False)
    assert refused.status != 0
    assert "--target-dependents" in refused.text
    mesh.carried_out()
    mesh.assert_settled()


def test_protection(mesh: MovingMesh) -> None:
    """Neither `destroy` nor a program without it takes anything of a protected mesh away."""
    place = "parent=Group('g')" if "test:index:Group::g" in mesh.resources() else ""
    mesh.write(f"protect=True, {place}")
    mesh.carried_out()
    before = set(mesh.resources())
    refused = mesh.destroy(check=False)
    (mesh.program / "__main__.py").write_text(NOTHING)
    for status, text in ((refused.status, refused.text), mesh.whole_up(), mesh.whole_up("--skip-preview")):
        assert status != 0
        assert "protected" in text
    assert set(mesh.resources()) == before
    mesh.write(place)
    mesh.carried_out()
    mesh.assert_settled()


def test_state_rename_and_move(mesh: MovingMesh) -> None:
    """`state rename` of all of it, `state move` to another stack: no diff there; and that stack may go on with it."""
    for key in mesh.resources():
        if (name := key.rpartition("::")[2]) in ("hello", "hello-pythonapp"):
            mesh.pulumi("state", "rename", mesh.urn(key), name.replace("hello", "shop"), "--yes")
    mesh.name = "shop"
    mesh.write('parent=Group("g")' if "test:index:Group::g" in mesh.resources() else "")
    mesh.assert_settled()
    mesh.pulumi("stack", "init", "second")
    second = {"PULUMI_STACK": "second"}
    urns = [one["urn"] for key, one in mesh.resources().items() if key.rpartition("::")[2].startswith("shop")]
    mesh.pulumi("state", "move", "--source", "dev", "--dest", "second", "--yes", *urns)
    for key in (*KEYS, *(f"pulumi-scone:{name}" for name in SETTINGS)):
        value = mesh.run("pulumi", "config", "get", key).strip()
        del mesh.transcripts[-1]
        kind = "--secret" if key in KEYS else "--plaintext"
        mesh.pulumi("config", "set", kind, key, stdin=value, environment=second)
    # The stack that it came from does not get it back by itself.
    status, text = mesh.whole_up()
    assert status != 0
    assert "is deployed)" in text
    mesh.environment |= second
    mesh.write()  # a move leaves the parent behind
    assert mesh.carried_out() == {}
    mesh.assert_settled()


def test_other_providers(mesh: MovingMesh) -> None:
    """An explicit provider instead of the ambient one, and another one of the same cluster: no change. A cluster that
    does not take the release: what runs goes on, and the state from before leads back.
    """
    real = mesh.environment["KUBECONFIG"]
    mesh.write(f'providers=[cluster("one", "{real}")]')
    mesh.carried_out()
    mesh.write(f'providers=[cluster("two", "{real}")]')
    assert mesh.carried_out() == {"created": 1, "deleted": 1}  # the providers
    mesh.assert_settled()
    state = mesh.folder.parent / "before.json"
    mesh.pulumi("stack", "export", "--file", str(state))
    with kubernetes_api() as api:
        other = mesh.folder.parent / "other-cluster"
        other.write_text(kubeconfig({"other": api.url}))
        mesh.write(f'providers=[cluster("two", "{other}")]')
        status, text = mesh.whole_up()
        assert status != 0
        assert any("labelSelector=owner%3Dhelm%2Cname%3Dfixed" in line for line in api.asked)
        status, text = mesh.whole_up()
        assert status != 0
        assert "Helm has no release of this name on this cluster" in text
        assert "restore the state from before" in text
    mesh.pulumi("stack", "import", "--file", str(state))
    mesh.write(f'providers=[cluster("two", "{real}")]')
    mesh.assert_settled()


def test_two_components_that_are_one(mesh: MovingMesh) -> None:
    """Two of one program that are one release to Helm, or write one policy differently: refused by both names."""
    mesh.write(name="a", release='"twin"')
    program = mesh.program / "__main__.py"
    text = program.read_text()
    again = text[text.index("mesh = MeshDeployment(") : text.index("pulumi.export")].replace('"a",', '"b",')
    program.write_text(text + again)
    refused = mesh.preview(check=False)
    assert refused.status != 0
    one, two = "a (scone:index:MeshDeployment)", "b (scone:index:MeshDeployment)"
    words = "of this program are one release to Helm"
    assert f"{one} and {two} {words}" in refused.text or f"{two} and {one} {words}" in refused.text
    other = re.sub("value: (myself|somebody)", "value: else", (mesh.program / "mesh.yaml").read_text())
    (mesh.program / "other.yaml").write_text(other)
    program.write_text(text + again.replace("mesh.yaml", "other.yaml"))
    refused = mesh.preview(check=False)
    assert refused.status != 0
    assert "a-pythonapp and b-pythonapp of this program both write this policy, and not the same" in refused.text
    assert "they differ in services" in refused.text
    mesh.write()
    mesh.carried_out()


def test_retained(mesh: MovingMesh) -> None:
    """`retain_on_delete`: taken out of the program, release and policies stay and run. Nobody takes them unasked."""
    mesh.write("retain_on_delete=True")
    mesh.carried_out()
    (mesh.program / "__main__.py").write_text(NOTHING)
    mesh.carried_out()
    mesh.kube("rollout", "restart", "deployment")
    mesh.kube("rollout", "status", "deployment", "--timeout=60s")
    assert mesh.given() == mesh.checksum
    assert not [key for key in mesh.resources() if "scone:" in key]
    mesh.write()
    status, text = mesh.whole_up()
    assert status != 0
    assert f"helm -n {mesh.kubernetes_namespace} uninstall fixed" in text
    assert mesh.given() == mesh.checksum
