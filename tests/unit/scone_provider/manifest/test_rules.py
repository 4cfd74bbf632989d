"""Rules across the sections of a service manifest: what `check`, `derive` and programs refuse alike, and where."""

import re
from typing import Any

import pytest
import yaml

from scone_policy.syntax.holes import Holes
from scone_provider.errors import ManifestError
from scone_provider.manifest import ServiceManifest, load_mesh, load_service
from scone_provider.manifest.cautions import sentences
from scone_provider.manifest.overrides import ServiceFiles, overridden, read_override

BUILD = {"name": "api", "kind": "python", "to": "r.test/team/api:1", "command": "python3 api.py", "pwd": "/app"}
KEY = {"name": "k", "kind": "private-key"}
TEXT = {"name": "t", "kind": "ascii"}


def service(*, build: dict[str, Any] | None = None, **sections: Any) -> ServiceManifest:
    """A manifest with these build keys and sections, from YAML so that lines are known."""
    content = {"apiVersion": "scone/5.8", "kind": "genservice", "build": BUILD | (build or {}), "environment": {}}
    return load_service(yaml.safe_dump(content | sections, sort_keys=False), file="m.yaml")


def local(name: str, value: str) -> dict[str, Any]:
    """A section of the manifest with one local variable."""
    return {"environment": {"local": [{"name": name, "value": value}]}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"environment": {"local": [{"name": "A", "value": "1"}], "global": [{"name": "A"}]}},
        "environment.global.A",
        "A is local, too",
    ),
    ({"secrets": {"local": [TEXT], "global": [TEXT]}}, "secrets.global.t", "the secret t is local, too"),
    ({"secrets": {"local": [TEXT], "import": ["t"]}}, "secrets.import.t", "both imported and defined"),
    ({"secrets": {"import": ["ok", "a b"]}}, "secrets.import[1]", "must be a secret's name"),
    ({"secrets": {"import": [""]}}, "secrets.import[0]", "must be a secret's name"),
    ({"secrets": {"import": ["{{x}}"]}}, "secrets.import[0]", "must be a secret's name"),
    (
        {"secrets": {"global": [TEXT, {"name": "c", "kind": "x509", "private_key": "t"}]}},
        "secrets.global.c.private_key",
        "of kind private-key",
    ),
    (
        {
            "secrets": {
                "local": [
                    KEY,
                    {"name": "j", "kind": "jwt", "signer": "k", "alg": "ES384", "validity": {"for": "1 day"}},
                ]
            }
        },
        "secrets.local.j.signer",
        "P-384",
    ),
    (local("A", "$$SCONE::x"), "environment.local.A", "not closed by $$"),
    ({"build": {"command": "a $$SCONE::x y$$"}}, "build.command", "must look like $$SCONE::name$$"),
    (
        {"injection_files": [{"path": "/a", "content": "$$SCONE::x"}]},
        "injection_files./a.content",
        "not closed by $$",
    ),
    ({"injection_files": [{"path": "a", "content": ""}]}, "injection_files.a", "must be an absolute path"),
    ({"injection_files": [{"path": "/a/../b", "content": ""}]}, "injection_files./a/../b", "no . and .."),
    ({"injection_files": [{"path": "/a/", "content": ""}]}, "injection_files./a/", "no / at its end"),
    ({"injection_files": [{"path": "/", "content": ""}]}, "injection_files./", "plain path of a file"),
    ({"build": {"copy": ["/etc/passwd"]}}, "build.copy[0]", "below the manifest's folder"),
    ({"build": {"copy": ["a", "b/../../x"]}}, "build.copy[1]", "below the manifest's folder"),
    ({"build": {"copy": [".."]}}, "build.copy[0]", "below the manifest's folder"),
    ({"build": {"dirs": ["/"]}}, "build.dirs[0]", "is the whole image"),
    ({"build": {"dirs": ["."], "pwd": "/"}}, "build.dirs[0]", "is the whole image"),
    ({"build": {"plains": ["/a/../b"]}}, "build.plains[0]", "without .."),
    ({"build": {"dirs": [""]}}, "build.dirs[0]", "must not be empty"),
    ({"build": {"run": ["true", " "]}}, "build.run[1]", "must not be empty"),
    ({"build": {"run": ["# install\n\n # more\n"]}}, "build.run[0]", "nothing would run"),
    ({"build": {"dirs": ["/app"], "fs_dirs": ["."]}}, "build.fs_dirs[0]", "/app stands in dirs, too"),
    ({"build": {"fs_files": ["/x"], "plain_files": ["/x"]}}, "build.plain_files[0]", "/x stands in fs_files, too"),
    (
        {"build": {"volumes": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]}},
        "build.volumes[1]",
        "two volumes have the name a",
    ),
    (
        {"build": {"volumes": [{"name": "a", "path": "/a"}, {"name": "b", "path": "/a/"}]}},
        "build.volumes[1]",
        "two volumes are mounted at /a",
    ),
    (
        {"build": {"volumes": [{"name": "a", "path": "/a", "export": 5}]}},
        "build.volumes[0].export",
        "must be a session",
    ),
    (
        {"build": {"volumes": [{"name": "a", "path": "/a", "import": {"session": "s"}}]}},
        "build.volumes[0].import.volume",
        "required key is missing",
    ),
    (
        {
            "build": {
                "volumes": [{"name": "a", "path": "/a", "export": ["s"], "import": {"session": "s", "volume": "v"}}]
            }
        },
        "build.volumes[0].export",
        "has no export of its own",
    ),
    (local("SCONE_HEAP", "lots"), "environment.local.SCONE_HEAP", "a size such as 64M"),
    (local("SCONE_ALLOW_DLOPEN", "maybe"), "environment.local.SCONE_ALLOW_DLOPEN", "0, 1 or 2"),
    (local("SCONE_MODE", "foo"), "environment.local.SCONE_MODE", "hw, sim or auto"),
    (local("SCONE_LOG", "loud"), "environment.local.SCONE_LOG", "trace, debug, info"),
    (
        {"environment": {"global": [{"name": "SCONE_STACK", "value": "-1"}]}},
        "environment.global.SCONE_STACK",
        "a size such as",
    ),
    (local("{{A}}", "x"), "environment.local[0].name", "hold = or a variable"),
]


@pytest.mark.parametrize(("sections", "place", "words"), REFUSED, ids=[f"{case[1]} {case[2]}" for case in REFUSED])
def test_what_one_manifest_shows_is_refused_at_once(sections: dict[str, Any], place: str, words: str) -> None:
    """Each broken rule is one error with file, line and path of what was written, before any mesh or build."""
    with pytest.raises(ManifestError) as caught:
        service(**sections)
    assert caught.value.parts == ()
    assert caught.value.where.startswith("m.yaml:")
    assert caught.value.where.endswith(f": {place}")
    assert words in caught.value.what


TAKEN: list[dict[str, Any]] = [
    {"build": {"copy": [".", "./a", "a/../b", "{{x}}"], "pwd": "/"}},
    {"build": {"dirs": ["{{x}}", "data"], "fs_dirs": ["{{x}}"], "plains": ["/a"], "host_paths": ["/a"]}},
    {"build": {"run": ["# first\necho one\n"], "pwd": "/{{x}}", "plains": [".."]}},
    {"build": {"volumes": [{"path": "/a"}, {"path": "/b"}, {"name": "c", "path": "/c", "export": ["{{x}}", "s"]}]}},
    {"injection_files": [{"path": "/{{x}}/../y", "content": "$$SCONE::{{x}}_key:hex$$ {{x}}"}]},
    {"secrets": {"global": [{"name": "c", "kind": "x509", "private_key": "in_the_mesh", "issuer": "{{ca}}"}]}},
    {"secrets": {"import": ["ca"], "global": [KEY, {"name": "c", "kind": "x509", "private_key": "k", "issuer": "ca"}]}},
    {"secrets": {"local": [{**TEXT, "value": "$$SCONE::"}]}},
    {
        "environment": {
            "local": [
                {"name": "SCONE_HEAP", "value": "{{heap}}"},
                {"name": "SCONE_STACK", "value": 4096},
                {"name": "SCONE_ALLOW_DLOPEN", "value": 2},
                {"name": "SCONE_MODE", "value": "HW"},
                {"name": "SCONE_LOG", "value": "INFO"},
                {"name": "SCONE_SOMETHING_NEW", "value": "whatever"},
                {"name": "TEXT", "value": "$$SCONE::not_defined_here$$"},
            ]
        }
    },
    {"environment": {"local": [{"name": "@@HOST"}, {"name": "\\@\\@PORT"}], "global": [{"name": "@@USER"}]}},
    {"build": {"volumes": [{"name": "v", "path": "/v", "export": ["a", f"/session=b,session_hash={'ab' * 32}"]}]}},
    {"secrets": {"global": [{**TEXT, "export": ["a", f"/session=b,session_hash={'ab' * 32}"]}]}},
]


@pytest.mark.parametrize("sections", TAKEN)
def test_what_may_be_right_is_taken(sections: dict[str, Any]) -> None:
    """What a mesh decides (variables, further secrets) and what is new is not judged too early."""
    assert service(**sections).build.name == "api"


NO_TOKEN = {"kind": "aad-token", "application_secret": "planted"}
ID = {"client_id": "12345678-1234-1234-1234-123456789abc"}
CAUTIONS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"secrets": {"global": [{**NO_TOKEN, "name": "a", "tenant_id": "", "client_id": None}]}},
        ["secrets.global.a.tenant_id", "secrets.global.a.client_id"],
    ),
    ({"secrets": {"local": [{**TEXT, "value": "abc", "size": 3}]}}, []),
    (
        {"secrets": {"local": [{"name": "c", "import": {"session": "o", "secret": "c"}, "kind": "ascii", "size": 3}]}},
        ["secrets.local.c.size"],
    ),
    (
        {
            "secrets": {"local": [{"name": "b", "kind": "binary"}]},
            "environment": {
                "local": [{"name": "RAW", "value": "$$SCONE::b$$"}, {"name": "HEX", "value": "$$SCONE::b:hex$$"}],
                "global": [{"name": "OURS", "value": "$$SCONE::b$$ $$SCONE::of_the_mesh$$"}, {"name": "NONE"}],
            },
            "injection_files": [
                {"path": "/a", "content": "$$SCONE::b$$ {{x}}"},
                {"path": "/b", "content": "$$SCONE::b|escape(json)$$"},
            ],
        },
        ["environment.local.RAW", "environment.global.OURS", "injection_files./b.content"],
    ),
    (
        {
            "secrets": {"local": [{"name": "x", "kind": "binary"}]},
            "environment": {"local": [{"name": "A", "value": "$$SCONE::{{which}}$$"}]},
        },
        [],
    ),
    (
        {
            "secrets": {"local": [{"name": "b", "kind": "binary"}, {**NO_TOKEN, "name": "a", "tenant_id": ""} | ID]},
            "environment": {"local": [{"name": "A", "value": "$$SCONE::b:pem$$"}]},
        },
        ["secrets.local.a.tenant_id"],
    ),
]


@pytest.mark.parametrize(("sections", "places"), CAUTIONS, ids=[" ".join(places) or "-" for _, places in CAUTIONS])
def test_what_sessions_are_warned_of_manifests_are(sections: dict[str, Any], places: list[str]) -> None:
    """A manifest's secrets get the warnings of the session language, with file and line of what was written."""
    found = sentences(service(**sections))
    assert [match[1] for one in found if (match := re.search(r"\(m\.yaml:[0-9]+: ([^)]+)\): [A-Z]", one))] == places
    assert len(found) == len(places)
    assert "planted" not in "".join(found)


def test_values_that_are_not_known_yet_are_no_mistakes() -> None:
    """An Output in the place of a value, a size or a part of a text passes."""
    hole = Holes().punch(None)
    content = {
        "build": BUILD | {"pwd": hole, "command": f"python3 {hole}", "from": hole, "run": [hole]},
        "environment": {"local": [{"name": "SCONE_HEAP", "value": hole}]},
        "injection_files": [{"path": "/etc/x", "content": hole}],
    }
    assert load_service(content, file="<m>").build.pwd == hole


def test_a_file_beside_a_service_cannot_say_both() -> None:
    """A variable that such a file makes local and global at once is refused at its line there."""
    env = read_override("local:\n  - {name: A, value: 1}\nglobal:\n  - name: A\n", file="e.yaml", variables={})
    with pytest.raises(ManifestError, match=r"^e\.yaml:4: global\.A: A is local, too"):
        overridden(service(), ServiceFiles(env=env))


MESH: dict[str, Any] = {
    "cas": [
        {"name": "cas", "alias": ["security", "access", "attestation"], "cas_url": "cas.default"},
        {"name": "image", "cas_url": "other.default"},
    ],
    "policy": {"namespace": "a"},
    "env": [],
    "services": [{"name": "api", "image": "r.test/team/api:1"}],
}


@pytest.mark.parametrize("spelling", ["cas.default:8081", "https://cas.default", "https://CAS.default:8081/"])
def test_one_cas_in_two_spellings(spelling: str) -> None:
    """Host and port tell CASes apart, not how they are written."""
    other = [MESH["cas"][0], {"name": "image", "cas_url": spelling}]
    with pytest.raises(ManifestError, match=r"cas and image are the same CAS, cas\.default"):
        load_mesh(MESH | {"cas": other}, file="<mesh>")
    elsewhere = [MESH["cas"][0], {"name": "image", "cas_url": "cas.default:8082"}]
    assert load_mesh(MESH | {"cas": elsewhere}, file="<mesh>").cas_name("image") == "image"


@pytest.mark.parametrize("destination", ["", "https://dest.example/x", "dest.example/X", "dest.example/x:1", "a b"])
def test_destinations_that_are_none(destination: str) -> None:
    """`repo.destination` is a registry and a folder: no scheme, no tag, the folder in lower case."""
    with pytest.raises(ManifestError, match=r"repo\.destination: must be a registry and a folder"):
        load_mesh(MESH | {"repo": {"destination": destination}}, file="<mesh>")


@pytest.mark.parametrize("destination", ["host", "host:5000", "10.1.2.3:5000/a/b_c/", "team", "{{repo}}/x"])
def test_destinations(destination: str) -> None:
    """With and without port and folder, or by a variable."""
    mesh = load_mesh(MESH | {"repo": {"destination": destination}}, file="<mesh>")
    assert mesh.repo is not None
    assert mesh.repo.destination == destination
