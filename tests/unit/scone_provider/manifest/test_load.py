"""Service manifests and Meshfiles: what is accepted, what is refused by name, and where."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.syntax.holes import Holes
from scone_provider.errors import ManifestError
from scone_provider.manifest import ManifestErrors, Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.mesh import ROLES

SERVICE: dict[str, Any] = {
    "apiVersion": "scone/5.8",
    "kind": "genservice",
    "build": {
        "name": "api",
        "kind": "python",
        "to": "localhost:5000/team/api:1",
        "command": "python3 api.py",
        "pwd": "/python",
        "copy": ["api.py"],
        "dirs": ["/data"],
        "from": "python:3.11-slim",
        "signature": {"sign": False},
    },
    "environment": {
        "local": [{"name": "SCONE_HEAP", "value": "760M"}, {"name": "FLAG", "value": True}, {"name": "N", "value": 1}],
        "global": [{"name": "USER"}, {"name": "HOST", "value": "db"}],
    },
    "secrets": {
        "local": [{"name": "password", "kind": "ascii", "size": 10}],
        "global": [{"name": "shared", "kind": "binary", "export": [{"namespace": "{{namespace}}"}]}],
        "import": ["other"],
    },
    "injection_files": [{"path": "/etc/app.conf", "content": "user={{USER}}\n"}],
}
MESH: dict[str, Any] = {
    "apiVersion": "scone/5.8.1",
    "kind": "mesh",
    "cas": [
        {
            "name": "cas",
            "alias": ["image", "security", "access", "attestation"],
            "cas_url": "cas.default",
            "cas_key": "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1",
            "tolerance": "-C -G",
            "mode": "Upload",
        }
    ],
    "policy": {"namespace": "team/app", "tolerate": "debug-mode,outdated-tcb", "ignore_advisories": "*"},
    "env": [{"service": "global", "env": [{"name": "PORT", "value": 443}]}, {"service": "api", "env": []}],
    "services": [{"name": "api", "image": "localhost:5000/team/api:1"}, {"image": "localhost:5000/team/db:1"}],
    "helm_extra_values": "a: 1\n",
}


def edited(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted path replaced; numbers are list indices, None removes."""
    found = copy.deepcopy(base)
    node: Any = found
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in parents:
        node = node[step] if isinstance(step, int) else node.setdefault(step, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return found


def test_every_key_that_works_now_is_taken() -> None:
    """The values arrive as text, with their sections by name."""
    manifest = load_service(SERVICE, file="<api>")
    assert manifest.environment.local == {"SCONE_HEAP": "760M", "FLAG": "true", "N": "1"}
    assert manifest.environment.global_ == {"USER": None, "HOST": "db"}
    assert manifest.secrets.local == {"password": {"kind": "ascii", "size": 10}}
    assert manifest.secrets.global_["shared"]["export"] == {"{{namespace}}": {"namespace": True}}
    assert manifest.injection_files["/etc/app.conf"].content == "user={{USER}}\n"
    mesh = load_mesh(MESH, file="<mesh>")
    assert list(mesh.services) == ["api", "db"]
    assert mesh.env["global"].env == {"PORT": "443"}
    assert mesh.policy.tolerate == ("debug-mode", "outdated-tcb")
    assert mesh.cas_of("attestation").cas_url == "cas.default"


@pytest.mark.parametrize(("load", "content"), [(load_service, SERVICE), (load_mesh, MESH)])
def test_file_and_python_give_equal_models(load: Any, content: dict[str, Any]) -> None:
    """The same content in YAML and as typed arguments is the same thing; only places in errors differ."""
    from_file = load(yaml.safe_dump(content, sort_keys=False), file="m.yaml")
    from_python = load(content, file="<args>")
    assert from_file == from_python
    assert from_file.where("apiVersion") == "m.yaml:1: apiVersion"
    assert from_python.where("apiVersion") == "<args>: apiVersion"


def test_typed_arguments_need_no_header() -> None:
    """In Python apiVersion and kind are known from the place; in a file they are required."""
    content = {key: value for key, value in SERVICE.items() if key not in ("apiVersion", "kind")}
    assert load_service(content, file="<api>") == load_service(SERVICE, file="<api>")
    with pytest.raises(ManifestErrors, match="apiVersion: the required key is missing"):
        load_service(yaml.safe_dump(content), file="m.yaml")


def test_numbers_from_pulumi_are_whole_again() -> None:
    """The engine turns 443 into 443.0; the manifest does not."""
    floats = edited(edited(MESH, "env.0.env.0.value", 443.0), "policy.namespace", "team/app")
    assert load_mesh(floats, file="<mesh>") == load_mesh(MESH, file="<mesh>")


REFUSED_SERVICE = [
    ("apiVersion", "scone/5.7", "apiVersion", "5.8 or newer"),
    ("apiVersion", "v1", "apiVersion", "5.8 or newer"),
    ("kind", "mesh", "kind", "genservice"),
    ("zonk", 1, "zonk", "unknown key"),
    ("build.zonk", 1, "build.zonk", "unknown key"),
    ("build.to", None, "build.to", "missing"),
    ("build.to", f"localhost:5000/team/api@sha256:{'ab' * 32}", "build.to", "with a tag"),
    ("build.to", "localhost:5000/", "build.to", "with a tag"),
    ("build.to", "localhost:5000/Team/api:1", "build.to", "lower case"),
    ("build.name", "a b", "build.name", "letters"),
    ("build.kind", "rust", "build.kind", "this package builds python and sconify_image"),
    ("build.kind", "java 8", "build.kind", "must be a word"),
    ("build.kind", "", "build.kind", "must be a word"),
    ("build.kind", "java17", "build.kind", "vendor's SCONE toolchain"),
    ("build.kind", "java", "build.kind", "vendor's SCONE toolchain"),
    ("build.command", "", "build.command", "program"),
    ("build.command", ["python3"], "build.command", "text"),
    ("build.command", "a 'b", "build.command", "not closed"),
    ("build.pwd", "python", "build.pwd", "absolute"),
    ("build.copy", "api.py", "build.copy", "list"),
    ("build.run", "echo", "build.run", "list"),
    ("build.fs_dirs", "/a", "build.fs_dirs", "list"),
    ("build.volumes", [{"name": "v"}], "build.volumes[0]", "no path"),
    ("build.volumes", [{"path": "data"}], "build.volumes[0].path", "absolute"),
    ("build.signature.sign", "perhaps", "build.signature.sign", "true or false"),
    ("build.stable", "a:1", "build.stable", "not supported"),
    ("build.gen_policy", {"policy": "p.yaml"}, "build.gen_policy", "not supported"),
    ("environment", {"local": {"A": "1"}}, "environment.local", "list of maps"),
    ("environment.local", [{"name": "A"}], "environment.local.A", "A has no value"),
    ("environment.local", [{"value": "A"}], "environment.local[0]", "map with name"),
    ("environment.local", [{"name": "A", "value": "1"}] * 2, "environment.local[1]", "twice"),
    ("environment.local", [{"name": "A", "value": "1", "x": 1}], "environment.local[0].x", "unknown key"),
    ("environment.local", [{"name": "A=B", "value": "1"}], "environment.local[0].name", "hold ="),
    ("environment.local", [{"name": "A", "value": ["1"]}], "environment.local.A.value", "must be text"),
    ("secrets.global", [{"name": "k", "kind": "password"}], "secrets.global.k.kind", "must be one of"),
    ("secrets.local", [{"name": "k", "kind": "ascii", "size": "many"}], "secrets.local.k.size", "must be a whole"),
    ("secrets.local", [{"kind": "ascii"}], "secrets.local[0]", "no name"),
    ("secrets.zonk", [], "secrets.zonk", "unknown key"),
    ("injection_files", [{"path": "/a"}], "injection_files./a.content", "missing"),
]
REFUSED_MESH = [
    ("kind", "genservice", "kind", "mesh"),
    ("zonk", 1, "zonk", "unknown key"),
    ("cas", "cas", "cas", "list of maps"),
    ("cas.0.cas_url", None, "cas.cas.cas_url", "missing"),
    ("cas.0", "cas.example", "cas[0]", "map with cas_url"),
    ("cas.0.cas_url", "cas.example:https", "cas.cas.cas_url", "not the address of a CAS"),
    ("cas.0.tolerance", "-C --trust", "cas.cas.tolerance", "'--trust' is no switch"),
    ("helm_extra_values", "a: [", "helm_extra_values", "line 2 of the text: this is not valid YAML"),
    ("helm_extra_values", "- a", "helm_extra_values", "holds a map"),
    ("cas.0.alias", ["image", "access", "attestation"], "cas", "no CAS fills the role security"),
    ("cas.0.alias", ["image", "security", "access", "attestations"], "cas", "no CAS fills the role attestation"),
    ("cas.0.mode", "Download", "cas.cas.mode", "one of"),
    ("cas.0.cas_key", "abc", "cas.cas.cas_key", "key hash"),
    ("cas.0.cas_encryption_key", "abc", "cas.cas.cas_encryption_key", "32 bytes"),
    ("policy.namespace", None, "policy.namespace", "missing"),
    ("policy.namespace", "a//b", "policy.namespace", "//"),
    ("policy.tolerate", "everything", "policy.tolerate", "everything"),
    ("policy.ignore_advisories", "*, INTEL-SA-00001", "policy.ignore_advisories", "alone"),
    ("policy.image_policy_namespace", "a b", "policy.image_policy_namespace", "letters"),
    ("policy.access_policy_name", "a//b", "policy.access_policy_name", "//"),
    ("env.0.service", "nobody", "env.nobody", "nobody, which is not among"),
    ("env.1.service", "global", "env[1]", "twice"),
    ("env.0.zonk", 1, "env[0].zonk", "unknown key"),
    ("env.0.env", [{"name": "A"}], "env.global.env.A", "A has no value"),
    ("services", {}, "services", "list of maps"),
    ("services.0.name", "global", "services[0]", "cannot be a service's name"),
    ("services.0.name", "db", "services[1]", "two services"),
    ("services.0.name", "a b", "services[0]", "name of letters"),
    ("services.0", "registry.example/api:1", "services[0]", "map with image"),
    ("services.0.image", "no image", "services.api.image", "image"),
    ("services.0.image_secrets", ["s.yaml"], "services.api.image_secrets", "must be text"),
    ("repo", {"push": True}, "repo.destination", "missing"),
    ("repo", {"destination": "x", "squash": True}, "repo.squash", "not supported"),
    ("repo", {"destination": "x", "key_file": "cosign.key"}, "repo.key_file", "not supported yet"),
    ("extra_policies", [{"name": "x"}], "extra_policies", "reserved by the vendor"),
]


@pytest.mark.parametrize(
    ("load", "base", "case"),
    [
        pytest.param(load, base, case, id=f"{case[2]}: {case[3]}")
        for load, base, cases in ((load_service, SERVICE, REFUSED_SERVICE), (load_mesh, MESH, REFUSED_MESH))
        for case in cases
    ],
)
def test_refusals_name_the_place_and_the_rule(load: Any, base: dict[str, Any], case: tuple[str, Any, str, str]) -> None:
    """Each broken rule, and each thing that is documented but not supported yet, is one error with file, line, path."""
    path, value, place, words = case
    with pytest.raises(ManifestError) as caught:
        load(yaml.safe_dump(edited(base, path, value), sort_keys=False), file="m.yaml")
    assert not isinstance(caught.value, ManifestErrors), caught.value
    assert caught.value.where.startswith("m.yaml:")
    assert caught.value.where.endswith(place)
    assert words in caught.value.what
    assert caught.value.fix, "every message has a next step"


FORMS = [
    (load_service, SERVICE, "apiVersion", "scone/5.7", "For example: apiVersion: scone/5.8"),
    (load_service, SERVICE, "build.to", f"r.test/api:1@sha256:{'ab' * 32}", "in place of a digest"),
    (load_service, SERVICE, "environment.local", {"A": 1}, "For example: local: [{name: "),
    (load_service, SERVICE, "build.volumes", [{"path": "/a", "export": 1}], "For example: volumes: [{name: "),
    (load_service, SERVICE, "build.kind", "Python3", "Did you mean python?"),
    (load_service, SERVICE, "kind", "GenService", "Did you mean genservice?"),
    (load_mesh, MESH, "env", {"A": 1}, "For example: env: [{service: global, "),
    (load_mesh, MESH, "helm_extra_values", ["a"], "For example: helm_extra_values: {services: "),
    (load_mesh, MESH, "env.0.service", "GLOBAL", "Did you mean global?"),
    (load_mesh, MESH, "apiVersion", "scone.cloud/v1", "For example: apiVersion: scone/5.8"),
]


@pytest.mark.parametrize(("load", "base", "path", "value", "fix"), FORMS, ids=[f"{row[2]} {row[4]}" for row in FORMS])
def test_next_steps_have_the_form_of_the_key(load: Any, base: dict[str, Any], path: str, value: Any, fix: str) -> None:
    """What to do is said in the form of a manifest, never by the page of the session language."""
    with pytest.raises(ManifestError) as caught:
        load(yaml.safe_dump(edited(base, path, value), sort_keys=False), file="m.yaml")
    assert fix in caught.value.fix
    assert "policies.md" not in str(caught.value)


def test_roles_over_several_cases() -> None:
    """Each role is filled by one CAS, whichever fills it; the same CAS under two names is refused."""
    other = {"name": "image", "alias": ["security"], "cas_url": "other.example"}
    main = {"name": "main", "alias": ["cas", "access", "attestation"], "cas_url": "cas.example"}
    mesh = load_mesh({**MESH, "cas": [main, other]}, file="<mesh>")
    assert {role: mesh.cas_name(role) for role in ROLES} == {
        "cas": "main",
        "image": "image",
        "security": "image",
        "access": "main",
        "attestation": "main",
    }
    with pytest.raises(ManifestError, match=r"main and image are the same CAS, cas\.example"):
        load_mesh({**MESH, "cas": [main, {**other, "cas_url": "cas.example"}]}, file="<mesh>")


@pytest.mark.parametrize("key", ["tolerate", "ignore_advisories", "maa"])
@pytest.mark.parametrize("taken", ["security_policy_name", "attestation_policy_name"])
def test_what_is_taken_by_reference_is_said_once(taken: str, key: str) -> None:
    """A toleration beside a policy that decides on it would be ignored without a word: it is refused."""
    policy = {"namespace": "a", taken: "central/policy", key: {"maa": "https://m"}.get(key, "") or "*"}
    if key == "tolerate":
        policy[key] = "debug-mode"
    with pytest.raises(ManifestError, match=f"policy.{key}: .* decided by {taken}"):
        load_mesh({**MESH, "policy": policy}, file="<mesh>")
    both = {"namespace": "a", "security_policy_name": "s", "attestation_policy_name": "t"}
    with pytest.raises(ManifestError, match="attestation included"):
        load_mesh({**MESH, "policy": both}, file="<mesh>")


def test_near_misses_are_suggested() -> None:
    """A service of env that is nearly one of the mesh's is asked for."""
    with pytest.raises(ManifestError, match="Did you mean global"):
        load_mesh(edited(MESH, "env.0.service", "globl"), file="<mesh>")


def test_several_problems_come_in_one_error() -> None:
    """A person fixes a manifest in one go."""
    broken = edited(edited(SERVICE, "build.stable", "a:1"), "build.gen_policy.policy", "x")
    with pytest.raises(ManifestErrors) as caught:
        load_service(yaml.safe_dump(broken, sort_keys=False), file="m.yaml")
    first, second = str(caught.value).splitlines()[1:]
    assert first.strip().startswith("m.yaml:")
    assert "build.stable" in first
    assert "build.gen_policy" in second


def test_a_mesh_has_services() -> None:
    """A Meshfile without a service deploys nothing and is refused."""
    with pytest.raises(ManifestError, match="at least one service"):
        load_mesh({**MESH, "services": [], "env": []}, file="<mesh>")


def test_empty_options_are_absent() -> None:
    """A variable that is set to nothing leaves an optional key out, as in the vendor's templates."""
    text = yaml.safe_dump(edited(MESH, "cas.0.cas_key", "$CAS_KEY"))
    assert load_mesh(text, file="m.yaml", variables={"CAS_KEY": ""}).cas["cas"].cas_key is None


def test_outputs_may_stand_for_values() -> None:
    """A hole passes wherever a value may stand, alone or inside of a text."""
    hole = Holes().punch(object())
    content = edited(edited(SERVICE, "build.to", f"{hole}/api:1"), "environment.local.0.value", hole)
    assert load_service(content, file="<api>").environment.local["SCONE_HEAP"] == hole
    text = yaml.safe_dump(edited(MESH, "cas.0.cas_url", "$URL"))
    assert load_mesh(text, file="m.yaml", variables={"URL": hole}).cas["cas"].cas_url == hole


def test_secret_values_stay_out_of_errors_and_reprs() -> None:
    """A wrong explicit secret is refused, a right one kept, without being shown."""
    wrong = edited(SERVICE, "secrets.local", [{"name": "s", "kind": "binary", "value": "hunter2"}])
    with pytest.raises(ManifestError) as caught:
        load_service(wrong, file="<api>")
    right = edited(SERVICE, "secrets.local", [{"name": "s", "kind": "ascii", "value": "hunter2"}])
    manifest = load_service(right, file="<api>")
    assert manifest.secrets.local["s"]["value"] == "hunter2"
    assert "hunter2" not in str(caught.value) + repr(manifest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(sorted({case[0] for case in REFUSED_SERVICE})),
    st.sampled_from([case[0] for case in REFUSED_MESH]),
    JSON,
)
def test_any_value_is_taken_or_refused(service_path: str, mesh_path: str, value: Any) -> None:
    """Whatever stands at a key, the answer is a model or a ManifestError, never another exception."""
    for load, base, path in ((load_service, SERVICE, service_path), (load_mesh, MESH, mesh_path)):
        if value is None:
            continue
        try:
            found = load(edited(base, path, value), file="<any>")
        except ManifestError as error:
            assert "Traceback" not in str(error)  # noqa: PT017 - either outcome is fine
        else:
            assert isinstance(found, ServiceManifest | Mesh)
