"""`check` and `derive`: what they print and how they end, run as the command line runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scone_provider.cli import main

SESSION = 'name: a\nversion: "0.3"\nservices:\n  - name: s\n    attestation: {mrenclave: "%s"}\n'
MANIFEST = """\
apiVersion: scone/5.8
kind: genservice
build: {name: web, kind: python, to: "$REPO/web:1", pwd: /app, command: python3 web.py, copy: [web.py]}
environment:
  local: [{name: SCONE_HEAP, value: 512M}, {name: PASSWORD, value: "$$SCONE::password$$"}]
secrets: {local: [{name: password, kind: ascii, size: 12}]}
"""
MESH = """\
apiVersion: scone/5.8
kind: mesh
cas: [{name: cas, alias: [image, security, access, attestation], cas_url: "$CAS"}]
policy: {namespace: shop}
env: []
services: [{name: web, image: "$REPO/web:1"}]
"""
PLANTED = "planted-4f0c-secret"
OWNER = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one document of each sort, which is the working directory."""
    (tmp_path / "good.yaml").write_text(SESSION % ("ab" * 32))
    (tmp_path / "bad.yaml").write_text(SESSION % "ab" + "zonk: 1\n")
    (tmp_path / "service.yaml").write_text(MANIFEST)
    (tmp_path / "mesh.yaml").write_text(MESH)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_check_is_silent_about_good_documents(capsys: pytest.CaptureFixture[str]) -> None:
    """Sessions, service manifests and Meshfiles are told apart; variables without a value do not matter."""
    assert main(["check", "good.yaml", "service.yaml", "mesh.yaml"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("folder")
def test_check_names_file_line_path_and_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each broken rule, in the order of the document, and exit code 1."""
    assert main(["check", "good.yaml", "bad.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["bad.yaml:5", "services.s.attestation.mrenclave"],
        ["bad.yaml:6", "zonk"],
    ]
    assert lines[1].startswith("bad.yaml:6: zonk: unknown key → Known here are access_policy, ")


def test_check_judges_each_sort_of_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken manifest, a broken Meshfile, a foreign document, no YAML, a creator by hand: each with its place."""
    (folder / "service.yaml").write_text(MANIFEST.replace("kind: python", "kind: cobol"))
    (folder / "mesh.yaml").write_text(MESH.replace("namespace: shop", "namespace: a b"))
    (folder / "foreign.yaml").write_text("replicas: 1\n")
    (folder / "broken.yaml").write_text("a: [\n")
    (folder / "creator.yaml").write_text('name: a\nversion: "0.3"\ncreator: me\n')
    files = ["service.yaml", "mesh.yaml", "foreign.yaml", "broken.yaml", "creator.yaml"]
    assert main(["check", *files]) == 1
    found = capsys.readouterr().out
    for start in (
        "service.yaml:3: build.kind: ",
        "mesh.yaml:4: policy.namespace: ",
        "foreign.yaml:1: this is no service manifest",
        "broken.yaml:2: this is not valid YAML",
        "creator.yaml:3: creator: is filled in by CAS",
    ):
        assert start in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "x.yaml:1: the document is empty → "),
        ("# nothing\n", "x.yaml:1: the document is empty → "),
        ("- a\n", "x.yaml:1: this is no service manifest, no Meshfile and no session → "),
        (
            MESH.replace("kind: mesh", "kind: Mesh"),
            "x.yaml:2: kind: a manifest's kind is mesh or genservice → Did you ",
        ),
        ("apiVersion: v1\nkind: Pod\n", "x.yaml:2: kind: a manifest's kind is mesh or genservice → Manifests begin"),
        ("apiVersion: scone/5.8\n", "x.yaml:1: kind: a manifest's kind is mesh or genservice → Manifests begin"),
        (
            MESH.replace("shop}", "shop}\nhelm_extra_values: '{a: ['"),
            "x.yaml:5: helm_extra_values: line 2 of the text: ",
        ),
        (SESSION.replace("services", "servcies"), "x.yaml:3: servcies: unknown key → Did you mean services?"),
        (MANIFEST.replace("size: 12", f"sise: {PLANTED}"), "x.yaml:6: secrets.local.password.sise: unknown key → Did"),
        (MANIFEST.replace("size: 12", f"value: *{PLANTED}"), "x.yaml:6: this alias (*…) stands for nothing before it"),
        (MANIFEST.replace("size: 12", f"value: !{PLANTED} 1"), "x.yaml:6: tags (!…) are not supported → A text that"),
        (MANIFEST.replace("size: 12", f"value: [{PLANTED}]"), "x.yaml:6: secrets.local.password.value: must be text"),
    ],
)
def test_what_people_get_wrong(folder: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Slips of everyday are named where they are, with the way out, and never with the value that stands there."""
    (folder / "x.yaml").write_text(content)
    assert main(["check", "x.yaml"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(said)
    assert PLANTED not in out


def test_check_warns_without_refusing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What breaks no rule but is better known is told as a warning, with its place; the exit code stays 0."""
    star = SESSION % ("ab" * 32) + "security:\n  attestation:\n    ignore_advisories: '*'\n"
    (folder / "star.yaml").write_text(star)
    assert main(["check", "star.yaml", "good.yaml"]) == 0
    place = "star.yaml:8: security.attestation.ignore_advisories"
    assert capsys.readouterr().out.startswith(f'{place}: warning: "*" without debug-mode: ')
    assert main(["check", "--json", "star.yaml"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["star.yaml"]
    assert (found["severity"], found["line"]) == ("warning", 8)
    (folder / "star.yaml").write_text(star.replace("'*'", "'*'\n    tolerate: [debug-mode]"))
    assert main(["check", "star.yaml"]) == 0
    assert capsys.readouterr().out == ""


def test_variables_of_the_mesh_need_no_quotes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` takes `{{name}}` wherever `derive` and programs do: bare in manifests and Meshfiles, in the text of
    `helm_extra_values`, with `$NAME` and its escape beside it.
    """
    bare = (
        MANIFEST.replace("value: 512M", "value: {{heap}}") + "injection_files:\n  - path: /c\n    content: {{title}}\n"
    )
    (folder / "service.yaml").write_text(bare + '  - {path: /n, content: "\\$host $HOST"}\n')
    env = "env:\n  - service: global\n    env:\n      - name: heap\n        value: {{release}}\n"
    extra = "helm_extra_values: |\n  a: {{release}}\n  b: {c: {{heap}}}\n"
    (folder / "mesh.yaml").write_text(MESH.replace("env: []\n", env) + extra)
    assert main(["check", "service.yaml", "mesh.yaml"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out == ""


def test_check_fills_a_meshfile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a Meshfile says by its own variables is judged as if it were written out."""
    env = 'env: [{service: global, env: [{name: n, value: "a b"}, {name: c, value: "x:y:z"}]}]\n'
    filled = MESH.replace("env: []\n", env).replace("namespace: shop", 'namespace: "{{ n }}/x"')
    (folder / "mesh.yaml").write_text(filled.replace('"$CAS"', '"{{c}}"').replace('"$REPO/web:1"', '"{{nobody}}/w:1"'))
    assert main(["check", "mesh.yaml"]) == 1
    assert "mesh.yaml:6: services.web.image: the variable {{nobody}} has no value → " in capsys.readouterr().out
    (folder / "mesh.yaml").write_text(filled.replace('"$CAS"', '"{{c}}"'))
    assert main(["check", "mesh.yaml"]) == 1
    found = capsys.readouterr().out
    assert "mesh.yaml:3: cas.cas.cas_url: this is not the address of a CAS" in found
    assert "mesh.yaml:4: policy.namespace: each part between / must be" in found


def test_a_key_that_is_a_variable_is_shown_without_marks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands for a value inside of the program is nothing that a person wrote."""
    (folder / "service.yaml").write_text(MANIFEST + "$KEY: x\n")
    assert main(["check", "service.yaml"]) == 1
    assert capsys.readouterr().out.startswith("service.yaml:7: …: unknown key")


@pytest.mark.usefixtures("folder")
def test_check_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Machines get one object: every file, with its findings taken apart."""
    assert main(["check", "--json", "good.yaml", "bad.yaml"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["good.yaml"] == []
    fix = found["bad.yaml"][1].pop("fix")
    assert found["bad.yaml"][1] == {
        "file": "bad.yaml",
        "line": 6,
        "path": "zonk",
        "rule": "unknown key",
        "severity": "error",
    }
    assert fix.startswith("Known here are access_policy, ")


@pytest.mark.parametrize(
    "section", ["volumes", "images", "access_policy", "security", "secret_config", "salt", "predecessor"]
)
def test_any_section_makes_a_session(folder: Path, section: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A document with nothing but one section of a session is one, and told what it lacks."""
    (folder / "x.yaml").write_text(f"{section}:\n")
    assert main(["check", "x.yaml"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("x.yaml:1: name: the required key is missing → ")
    assert second.startswith("x.yaml:1: version: the required key is missing")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("arguments", [["none.yaml"], ["good.yaml", "--set", "oops"]])
def test_wrong_usage_of_check_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read and a value without a name are no verdict on a document."""
    assert main(["check", *arguments]) == 2
    assert capsys.readouterr().err.startswith("pulumi-scone: ")


def test_check_without_files_is_wrong_usage() -> None:
    """Nothing to check is not success."""
    with pytest.raises(SystemExit) as end:
        main(["check"])
    assert end.value.code == 2


def derived(*more: str) -> int:
    """`derive` of the folder's mesh."""
    values = ["--set", "REPO=registry.example/shop", "--set", "CAS=https://cas.example:8081"]
    return main(["derive", "mesh.yaml", "--manifest", "service.yaml", *values, *more])


@pytest.mark.usefixtures("folder")
def test_derive_prints_the_sessions_of_a_mesh(capsys: pytest.CaptureFixture[str]) -> None:
    """One YAML document for the namespace, one for each service; what only a built image knows is marked as such."""
    assert derived("--owner", OWNER) == 0
    namespace, web = yaml.safe_load_all(capsys.readouterr().out)
    assert (namespace["name"], web["name"]) == ("shop", "shop/web")
    assert namespace["access_policy"]["update"] == [OWNER]
    (service,) = web["services"]
    assert service["attestation"] == {"mrenclave": "[measurement of registry.example/shop/web:1]"}
    assert service["fspf_key"] == "[derived: shop/web]"
    assert service["fspf_tag"].startswith("[fspf_tag of ")
    assert web["secrets"] == [{"name": "password", "kind": "ascii", "size": 12}]


def test_derive_over_two_cases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What services share on another CAS is a document of its own, the key of an unpinned CAS is marked as attested,
    and the files beside a service count.
    """
    two = MESH.replace("image, ", "", 1).replace('"$CAS"}]', '"$CAS"}, {name: image, cas_url: other.example}]')
    (folder / "mesh.yaml").write_text(two.replace('/web:1"}', '/web:1", image_policy: p.yaml}'))
    (folder / "p.yaml").write_text("services: {web: {environment: {WHERE: '{{cas_image_cas_key}}'}}}\n")
    assert derived("--owner", OWNER) == 0
    out = capsys.readouterr().out
    namespace, shared, web = yaml.safe_load_all(out)
    assert [line for line in out.splitlines() if line.startswith("#")] == [
        "# for the CAS cas: https://cas.example:8081",
        "# for the CAS image: other.example",
        "# for the CAS cas: https://cas.example:8081",
    ]
    assert (namespace["name"], shared["name"], web["name"]) == ("shop", "shop", "shop/web")
    assert web["services"][0]["environment"]["WHERE"] == "[attested key of image]"


def test_derive_explains_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable without a value, a manifest that no service uses and a service without one are errors in words, which
    name the options of the command line.
    """
    assert main(["derive", "mesh.yaml", "--manifest", "service.yaml"]) == 1
    said = capsys.readouterr().err
    assert "mesh.yaml:3: " in said
    assert r"Give it: --set CAS=…. The text $CAS itself is written \$CAS." in said
    assert derived("--set", "REPO=other") == 0
    (folder / "service.yaml").unlink()
    assert main(["derive", "mesh.yaml", "--set", "REPO=r.example/a", "--set", "CAS=https://c"]) == 1
    assert "no service manifest builds" in capsys.readouterr().err


def test_options_do_not_swallow_the_meshfile(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """An option takes one value and may be repeated, so the Meshfile may stand behind it."""
    values = ["--set", "REPO=r.example/a", "--set", "CAS=https://c"]
    assert main(["derive", *values, "--owner", OWNER, "--manifest", str(folder / "service.yaml"), "mesh.yaml"]) == 0
    assert capsys.readouterr().out.startswith("---\nname: shop\n")


def test_manifests_beside_the_meshfile_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --manifest: the one that builds the image, whatever else lies there; two of them are one too many; a
    broken one is told of where a service is without.
    """
    values = ["--set", "REPO=r.example/a", "--set", "CAS=https://c", "--owner", OWNER]
    (folder / "other.yaml").write_text(MANIFEST.replace("web:1", "other:1"))
    (folder / "strange.yaml").write_text(MANIFEST.replace("web:1", "third:1").replace("kind: python", "kind: cobol"))
    assert main(["derive", "mesh.yaml", *values]) == 0
    assert "fspf_key: '[derived: a/web]'" in capsys.readouterr().out.replace('"', "'")
    (folder / "again.yml").write_text(MANIFEST)
    assert main(["derive", str(folder / "mesh.yaml"), *values]) == 1
    said = capsys.readouterr().err
    assert "service.yaml:3: build.to: two manifests build r.example/a/web:1: the other is " in said
    assert "Name the one that is meant: --manifest " in said
    (folder / "again.yml").unlink()
    (folder / "service.yaml").unlink()
    assert main(["derive", "mesh.yaml", *values]) == 1
    assert "strange.yaml:3: build.kind: " in capsys.readouterr().err
    (folder / "worse.yaml").write_text(MANIFEST.replace("web:1", "fourth:1").replace("name: web", "name: a b"))
    assert main(["derive", "mesh.yaml", *values]) == 1
    said = capsys.readouterr().err
    assert "2 rules are broken" in said
    assert "strange.yaml:3: build.kind: " in said
    assert "worse.yaml:3: build.name: " in said


def test_derive_names_the_place_of_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two manifests of one image, an owner that is none, and a file beside a service that is not there."""
    (folder / "again.yaml").write_text(MANIFEST)
    assert derived("--manifest", "again.yaml") == 1
    assert capsys.readouterr().err.startswith("pulumi-scone: again.yaml:3: build.to: two manifests build ")
    (folder / "again.yaml").write_text(MANIFEST.replace("/web:1", "/wep:1"))
    assert derived("--manifest", "again.yaml") == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "pulumi-scone: again.yaml:3: build.to: no service of the mesh uses registry.example/shop/wep:1, "
    )
    assert (
        "Make build.to and image equal (the nearest is registry.example/shop/web:1, mesh.yaml:6: services.web)." in said
    )
    assert derived("--owner", "me") == 1
    assert capsys.readouterr().err.startswith("pulumi-scone: owners: an owner is named by the hash of a key, ")
    (folder / "mesh.yaml").write_text(MESH.replace('/web:1"}', '/web:1", image_policy: gone.yaml}'))
    assert derived() == 1
    said = "pulumi-scone: mesh.yaml:6: services.web.image_policy: gone.yaml: the file cannot be read: "
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.usefixtures("folder")
def test_a_reader_that_stops_early_is_no_error() -> None:
    """`derive … | head` ends quietly: no traceback because nobody reads on."""
    command = [sys.executable, "-c", "import sys; from scone_provider.cli import main; sys.exit(main())"]
    values = ["--set", "REPO=registry.example/shop", "--set", "CAS=https://cas.example:8081", "--owner", OWNER]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        arguments = ["derive", "mesh.yaml", "--manifest", "service.yaml", *values]
        done = subprocess.run([*command, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


FOREIGN = [
    ("apiVersion: scone.cloud/v1\nkind: Register\nspec: {}\n", "x.yaml:1: apiVersion: Register (scone.cloud/v1) is "),
    (
        "apiVersion: scone.cloud/v1\nkind: Apply\n---\napiVersion: scone.cloud/v1\n",
        "x.yaml:3: Apply (scone.cloud/v1) is ",
    ),
    (
        "apiVersion: scone.cloud/v1\nkind: Register\nspec:\n  a: {{R}}:{{T}}\n{{IF}}\n",
        "x.yaml:6: Register (scone.cloud/v1)",
    ),
    (
        "apiVersion: cas.scone.cloud/v1beta1\nkind: SignedPolicy\n",
        "x.yaml:1: apiVersion: SignedPolicy (cas.scone.cloud/v1b",
    ),
    (
        "apiVersion: cas.scone.cloud/v1beta1\nkind: EncryptedPolicy\n",
        "x.yaml:1: apiVersion: EncryptedPolicy (cas.scone.",
    ),
    (
        "apiVersion: base.scone.cloud/v1beta1\nkind: LAS\n",
        "x.yaml:1: apiVersion: LAS (base.scone.cloud/v1beta1) is an ob",
    ),
    ("apiVersion: base.scone.cloud/v1beta1\nkind: SGXPlugin\n", "x.yaml:1: apiVersion: SGXPlugin (base.scone.cloud/v1"),
    (
        "apiVersion: services.scone.cloud/v1beta1\nkind: CAS\n",
        "x.yaml:1: apiVersion: CAS (services.scone.cloud/v1beta1",
    ),
    ("apiVersion: services.scone.cloud/v1beta1\nkind: Vault\n", "x.yaml:1: apiVersion: Vault (services.scone.cloud/v1"),
    ("apiVersion: v2\nname: a\nversion: 1.0.0\n", "x.yaml:1: apiVersion: this is the Chart.yaml of a Helm chart"),
    ("services: {a: {image: redis, ports: ['1:1']}}\n", "x.yaml:1: services: this looks like a Docker Compose file"),
    (
        "apiVersion: scone/5.8\nkind: genAppImage\n",
        "x.yaml:2: kind: a manifest's kind is mesh or genservice → Did you mean gens",
    ),
    (
        "apiVersion: scone/5.8\nkind: genImage\n",
        "x.yaml:2: kind: a manifest's kind is mesh or genservice → Did you mean genser",
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\n",
        "x.yaml:2: kind: a manifest's kind is mesh or genservice → Manifests begin",
    ),
]


@pytest.mark.parametrize(("content", "said"), FOREIGN)
def test_documents_of_other_tools(folder: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are named as what they are, with a next step: alone, in one file with others, and as templates."""
    (folder / "x.yaml").write_text(content)
    assert main(["check", "x.yaml"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(said)
    assert " → " in line
    assert main(["derive", "x.yaml"]) == 1
    assert capsys.readouterr().err.startswith("pulumi-scone: x.yaml:")


@pytest.mark.parametrize("command", ["java -jar a.jar", '["java", "-jar", "my a.jar"]'])
def test_commands_take_a_builder(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds of another toolchain are in order for `check` and `derive` with its command, which is not run; the key is
    the builder's to say.
    """
    (folder / "service.yaml").write_text(MANIFEST.replace("kind: python", "kind: java21-ubuntu"))
    assert main(["check", "service.yaml"]) == 1
    assert (
        "service.yaml:3: build.kind: kind java21-ubuntu needs the vendor's SCONE toolchain" in capsys.readouterr().out
    )
    assert main(["check", "service.yaml", "--builder", command]) == 0
    assert derived("--owner", OWNER) == 1
    assert "docs/vendor-toolchain.md" in capsys.readouterr().err
    assert derived("--owner", OWNER, "--builder", command) == 0
    _, web = yaml.safe_load_all(capsys.readouterr().out)
    assert web["services"][0]["fspf_key"] == "[key of registry.example/shop/web:1, by the builder]"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["", "[]", "[1]", '["a"', "it's"])
def test_a_builder_that_is_no_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage, with both ways to write one."""
    assert main(["check", "service.yaml", "--builder", command]) == 2
    assert "--builder takes a command: 'python3 builder.py', or a JSON list of its words" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_values_that_no_file_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt --set is told on standard error; the verdict stays that of the documents."""
    assert main(["check", "service.yaml", "mesh.yaml", "--set", "REPO=r.example/a", "--set", "CAZ=c"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "warning: --set CAZ=… has no effect: no document that is read here holds $CAZ; used are $REPO\n"
    assert derived("--owner", OWNER, "--set", "ZONK=1") == 0
    assert capsys.readouterr().err.startswith("warning: --set ZONK=… has no effect: ")


def test_warnings_of_manifests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` tells what a preview would: as a warning, which is no refusal."""
    (folder / "service.yaml").write_text(MANIFEST.replace("web:1", "web"))
    assert main(["check", "service.yaml"]) == 0
    assert capsys.readouterr().out.startswith("service.yaml:3: build.to: warning: build.to has no tag, so latest is ")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (SESSION % "$MRENCLAVE", ["MRENCLAVE"]),
        (SESSION % ("ab" * 32) + "predecessor: $PREDECESSOR\n", ["PREDECESSOR"]),
        (SESSION % ("ab" * 32) + "secrets: [{name: s, kind: ascii, export: [${A}, ${B}]}]\n", ["A", "B"]),
        (
            SESSION % ("ab" * 32) + "images: [{name: i, injection_files: [{path: /a, content: |\n$OWNER\n}]}]\n",
            ["OWNER"],
        ),
    ],
)
def test_variables_left_in_a_session(
    folder: Path, content: str, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any --set a text that holds `$NAME` says how its value is given; also where it is no YAML yet."""
    (folder / "x.yaml").write_text(content)
    assert main(["check", "x.yaml"]) == 1
    out = capsys.readouterr().out
    assert all(f"--set {name}=…" in out for name in names)


def test_dollar_that_is_no_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text with a $ that breaks no rule is a text: a warning says how one is given; other mistakes come first."""
    (folder / "x.yaml").write_text(SESSION % ("ab" * 32) + "    environment: {A: $HOME}\n")
    assert main(["check", "x.yaml"]) == 0
    assert "warning: $HOME stands here as it is" in capsys.readouterr().out
    (folder / "x.yaml").write_text(SESSION % ("ab" * 32) + "    environment: {A: $HOME}\nzonk: 1\n")
    assert main(["check", "x.yaml"]) == 1
    assert "--set" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- {name: a, kind: ascii, size: 3}\n", ""),
        ("  - name: a\n    kind: ascii\n    export:\n      - namespace: {{namespace}}\n", ""),
        ("- {name: a, kind: assci}\n", "x.yaml:1: a.kind: must be one of "),
        ("local: [{name: A, value: 1}]\n", ""),
        ("- {name: A}\n- {name: B, value: x}\n", ""),
        ("global: [{name: A, valu: 1}]\n", "x.yaml:1: global[0].valu: unknown key"),
    ],
)
def test_files_beside_a_service(folder: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a Meshfile names as `env` or `image_secrets` of a service is judged alone, too."""
    (folder / "x.yaml").write_text(content)
    assert main(["check", "x.yaml"]) == (1 if said else 0)
    assert capsys.readouterr().out.startswith(said)
