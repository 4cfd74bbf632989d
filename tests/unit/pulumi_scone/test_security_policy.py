"""`SecurityPolicy` in a program: its three forms, and secrets that must be secrets from the first moment."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_scone import MeshDeployment, SecurityPolicy
from support.component_meshes import MESH, SERVICE
from unit.pulumi_scone.conftest import Run
from unit.scone_policy.test_field_documents import CA

CAS = {"url": "cas", "tolerance": {}}
PLANTED = "planted-51d2-secret"
TEXT = """\
name: acme/api
version: "0.3.10"
services:
- name: api
  command: [/app/api, "$ARGUMENT"]
  environment: {TOKEN: $$SCONE::token$$, USER: "$USER"}
  mrenclaves: [abababababababababababababababababababababababababababababababab]
secrets:
- {name: token, kind: ascii, value: "$TOKEN"}
"""


PRINTED = TEXT.replace('value: "$TOKEN"', "size: 5")
CREATOR = "".join(f"  {line}\n" for line in CA.splitlines())


def policy(**changes: Any) -> dict[str, Any]:
    """The same as a map."""
    service = {
        "command": "/app/api -v",
        "environment": {"TOKEN": "$$SCONE::token$$", "USER": "me"},
        "attestation": {"mrenclave": "ab" * 32},
    }
    secret = {"kind": "ascii", "value": pulumi.Output.secret(PLANTED)}
    return {
        "name": "acme/api",
        "version": "0.3.10",
        "services": {"api": service},
        "secrets": {"token": secret},
    } | changes


def secret(value: Any) -> dict[str, Any]:
    """Inputs hold a secret as the engine's wrapper."""
    return {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": value}


def variables() -> dict[str, Any]:
    """What the text leaves open."""
    return {"ARGUMENT": "-v", "USER": "me", "TOKEN": pulumi.Output.secret(PLANTED)}


def test_three_forms_are_one(run: Run, tmp_path: Path) -> None:
    """A map, a text and a file of the same policy reach the provider as the same map, its secret wrapped."""
    (tmp_path / "policy.yaml").write_text(TEXT)

    def program() -> None:
        SecurityPolicy("map", cas=CAS, policy=policy())
        SecurityPolicy("text", cas=CAS, policy=TEXT, variables=variables())
        SecurityPolicy("file", cas=CAS, policy_file="policy.yaml", variables=variables())

    found = run(program)
    text, file = (found.only(":SecurityPolicy", name).inputs for name in ("text", "file"))
    assert text == file
    assert text["policy"]["secrets"]["token"]["value"] == secret(PLANTED)
    assert text["policy"]["services"] == found.only(":SecurityPolicy", "map").inputs["policy"]["services"]


def test_variables_inside_of_placeholders(run: Run) -> None:
    """Which secret is meant may be a variable's to say, be it known or an Output; a secret's own value as well."""
    text = TEXT.replace("$$SCONE::token$$", "$$SCONE::${WHICH}$$").replace('"$TOKEN"', '"$$SCONE::t-${WHICH}$$$TOKEN"')
    for which in ("token", pulumi.Output.from_input("token")):
        given = {**variables(), "WHICH": which}
        found = run(lambda given=given: SecurityPolicy("p", cas=CAS, policy=text, variables=given)).only(
            ":SecurityPolicy"
        )
        assert found.inputs["policy"]["services"]["api"]["environment"]["TOKEN"] == "$$SCONE::token$$"
        assert found.inputs["policy"]["secrets"]["token"]["value"] == secret(f"$$SCONE::t-token$${PLANTED}")


def test_what_a_cas_printed_is_taken(run: Run) -> None:
    """A policy file that was read from a CAS holds the creator, which is ignored."""
    found = run(lambda: SecurityPolicy("p", cas=CAS, policy=f"{PRINTED}creator: |\n{CREATOR}")).only(":SecurityPolicy")
    assert "creator" not in found.inputs["policy"]


def test_dollars_stay_without_variables(run: Run) -> None:
    """Only with `variables` is a dollar sign anything but itself."""
    text = TEXT.replace('value: "$TOKEN"', "size: 5")
    found = run(lambda: SecurityPolicy("text", cas=CAS, policy=text)).only(":SecurityPolicy")
    assert found.inputs["policy"]["services"]["api"]["command"] == "/app/api $ARGUMENT"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("kind: ascii", "kind: asci"), ["policy.yaml:9", "secrets.token.kind", "must be one of"]),
        (TEXT.replace('"$USER"', '"$UZER"'), ["policy.yaml:6", "$UZER has no value"]),
        (TEXT.replace('"$TOKEN"', PLANTED), ["secrets.token.value", "plain text", "config set --secret"]),
        (f"{TEXT}creator: x\n", ["policy.yaml:10", "creator", "never written by hand"]),
        ("a: [", ["policy.yaml:", "not valid YAML"]),
    ],
)
def test_files_are_judged_with_their_lines(run: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    """A broken rule in a file is said with its line, before anything is registered, and without a value."""
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(pulumi.RunError) as refusal:
        run(lambda: SecurityPolicy("p", cas=CAS, policy_file="policy.yaml", variables=variables()))
    assert [word for word in words if word not in str(refusal.value)] == []
    assert PLANTED not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either"),
        ({"policy": "a: 1", "policy_file": "x"}, "give either"),
        ({"policy": 3}, "this is a int"),
        ({"policy_file": "no-such-file"}, "cannot be read"),
    ],
)
def test_wrong_arguments(run: Run, given: dict[str, Any], words: str) -> None:
    """What is neither of the three forms, or more than one, is refused in words."""
    with pytest.raises(pulumi.RunError, match=words):
        run(lambda: SecurityPolicy("p", cas=CAS, **given))


PLAIN: dict[str, dict[str, Any]] = {
    "secrets.token.value": {"secrets": {"token": {"kind": "ascii", "value": PLANTED}}},
    "services.api.fspf_key": {
        "services": {"api": {"command": "a", "fspf_key": "ab" * 32, "fspf_tag": "cd" * 16}},
        "security": {"attestation": {"mode": "none"}},
    },
    "security.service_access_token": {"security": {"service_access_token": PLANTED}},
    "security.attestation.one_time_password_shared_secret": {
        "security": {"attestation": {"one_time_password_shared_secret": "A" * 32}}
    },
    "volumes.v.fspf_key": {"volumes": {"v": {"fspf_key": "ab" * 32, "fspf_tag": "cd" * 16}}},
}


@pytest.mark.parametrize("path", PLAIN)
def test_plain_secrets_are_refused(run: Run, path: str) -> None:
    """Whatever the language knows to be secret must be a Pulumi secret; the error says where and how, not what."""
    with pytest.raises(pulumi.RunError) as refusal:
        run(lambda: SecurityPolicy("p", cas=CAS, policy=policy(**PLAIN[path])))
    assert str(refusal.value).startswith(f"{path}: this secret is given as plain text")
    assert "require_secret" in str(refusal.value)
    assert PLANTED not in str(refusal.value)


def test_outputs_that_are_not_secret_are_refused(run: Run) -> None:
    """An Output is no excuse: a value that Pulumi would show is as plain as a text; `check` is told to refuse it."""

    def program() -> None:
        token = {"kind": "ascii", "value": pulumi.Output.from_input(PLANTED)}
        SecurityPolicy("p", cas=CAS, policy=policy(secrets={"token": token}))

    assert run(program).only(":SecurityPolicy").inputs["private"] == {"plain": "secrets.token.value"}


def test_keys_in_plain_outputs_are_refused_too(run: Run) -> None:
    """The same for keys and tokens; and a secret Output is taken, without a word about it in `private`."""

    def given(key: Any) -> dict[str, Any]:
        service = {"command": "a", "fspf_key": key, "fspf_tag": "cd" * 16, "attestation": {"mrenclave": "ab" * 32}}
        return policy(services={"api": service})

    plain = run(lambda: SecurityPolicy("p", cas=CAS, policy=given(pulumi.Output.from_input("ab" * 32))))
    assert plain.only(":SecurityPolicy").inputs["private"] == {"plain": "services.api.fspf_key"}
    taken = run(lambda: SecurityPolicy("p", cas=CAS, policy=given(pulumi.Output.secret("ab" * 32))))
    assert "private" not in taken.only(":SecurityPolicy").inputs


def test_public_values_may_be_plain(run: Run) -> None:
    """A config fragment is no secret by itself."""
    wanted = policy(secrets={"token": {"kind": "config-fragment", "value": {"a": [1]}}})
    run(lambda: SecurityPolicy("p", cas=CAS, policy=wanted)).only(":SecurityPolicy")


def test_other_secret_outputs_are_named(run: Run) -> None:
    """Where else a secret Output stands, by path in the canonical form: so that no text ever shows its value."""

    def program() -> None:
        given = policy()
        given["services"]["api"]["environment"]["USER"] = pulumi.Output.concat("x-", pulumi.Output.secret(PLANTED))
        given["services"]["api"]["command"] = ["/app/api", pulumi.Output.secret(PLANTED)]
        given["services"]["api"]["pwd"] = pulumi.Output.from_input("/app")
        SecurityPolicy("p", cas=CAS, policy=given)

    found = run(program).only(":SecurityPolicy").inputs
    assert found["private"] == {"services": {"api": {"environment": {"USER": True}, "command": True}}}
    assert "private" not in run(lambda: SecurityPolicy("p", cas=CAS, policy=policy())).only(":SecurityPolicy").inputs


def test_plain_value_in_a_manifest_is_a_secret_from_here_on(run: Run) -> None:
    """What a mesh derives from a value in its manifest reaches the engine wrapped."""

    def program() -> None:
        password: Any = {"name": "password", "kind": "ascii", "value": PLANTED}
        MeshDeployment("app", {"mesh": MESH, "manifests": [{**SERVICE, "secrets": {"local": [password]}}]})

    found = run(program).only(":SecurityPolicy", "app-api").inputs["policy"]
    assert found["secrets"]["password"]["value"] == secret(PLANTED)


SHARED = {"name": "acme/shared", "version": "0.3.10"}


def sharing(name: str, wanted: str = "pw") -> dict[str, Any]:
    """A policy that imports a secret of the shared one."""
    secret = {"kind": "ascii", "import": {"session": "acme/shared", "secret": wanted}}
    return {**policy(), "name": name, "secrets": {"token": secret}}


@pytest.mark.parametrize("first", ["exporter", "importer"])
@pytest.mark.parametrize(
    ("export", "words"),
    [
        ([{"session": "acme/app"}], "exports pw to acme/app, not to acme/app9: CAS would refuse this policy"),
        ([], "exports pw to nobody, not to acme/app9"),
        ([{"namespace": "acme/app"}], "exports pw to acme/app, not to acme/app9"),
        ([{"session": "acme/app9"}], None),
        ([{"namespace": "acme"}], None),
        ([{"session": "acme/app9", "session_hash": "ab" * 32}], None),
    ],
)
def test_imports_are_compared_with_exports(run: Run, first: str, export: list[Any], words: str | None) -> None:
    """A policy whose name changed is not what the other one of the program exports to: an error, whichever is first."""
    shared = {**SHARED, "secrets": {"pw": {"kind": "ascii", "export": export}}}

    def program() -> None:
        made = [("shared", shared), ("app", sharing("acme/app9"))]
        for name, wanted in made if first == "exporter" else reversed(made):
            SecurityPolicy(name, cas=CAS, policy=wanted)

    if words is None:
        assert len(run(program).resources) == 2
        return
    with pytest.raises(pulumi.RunError, match=r"acme/app9: secrets\.token\.import: acme/shared") as refusal:
        run(program)
    assert words in str(refusal.value)
    assert "→ add {session: acme/app9} to the export of secrets.pw" in str(refusal.value)


def test_imports_of_what_is_not_there(run: Run) -> None:
    """A secret that the other policy does not have is named; another CAS, an Output as a name, are none of this."""
    shared = {**SHARED, "secrets": {"pw": {"kind": "ascii"}}}

    def broken() -> None:
        SecurityPolicy("shared", cas=CAS, policy=shared)
        SecurityPolicy("app", cas=CAS, policy=sharing("acme/app", "password"))

    with pytest.raises(pulumi.RunError, match=r"has no secret password\n  → name one of its secrets \(pw\)"):
        run(broken)

    def elsewhere() -> None:
        SecurityPolicy("shared", cas={"url": "other", "tolerance": {}}, policy=shared)
        SecurityPolicy("app", cas=CAS, policy=sharing("acme/app"))
        SecurityPolicy("named", cas=CAS, policy={**shared, "name": pulumi.Output.from_input("acme/shared")})

    assert len(run(elsewhere).resources) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"secrets": {"pw": {"kind": "ascii", "size": 8}}}, "they differ in secrets"),
        ({"secrets": {}}, "they differ in secrets"),
        ({"access_policy": {"read": ["ANY"]}}, "they differ in access_policy"),
    ],
)
def test_two_resources_that_write_one_policy(run: Run, changes: dict[str, Any], words: str | None) -> None:
    """The same has two owners; not the same would be undone by each other for ever: an error that names both."""
    shared = {**SHARED, "secrets": {"pw": {"kind": "ascii", "size": 7}}}

    def program() -> None:
        SecurityPolicy("one", cas=CAS, policy=shared)
        SecurityPolicy("elsewhere", cas={**CAS, "url": "other"}, policy={**shared, "secrets": {}})
        SecurityPolicy("two", cas=CAS, policy={**shared, **changes})

    if words is None:
        assert len(run(program).resources) == 3
        return
    with pytest.raises(pulumi.RunError, match="acme/shared: one and two of this program both write this") as refusal:
        run(program)
    assert words in str(refusal.value)


def test_two_resources_may_write_the_same_once_it_is_known(run: Run) -> None:
    """What is an Output may turn out to be equal: nothing is said of it."""
    shared = {**SHARED, "secrets": {"pw": {"kind": "ascii", "size": 7}}}
    later = {"pw": {"kind": "ascii", "size": 7, "export": [{"session": pulumi.Output.from_input("acme/app")}]}}

    def program() -> None:
        SecurityPolicy("one", cas=CAS, policy={**shared, "secrets": later})
        SecurityPolicy("two", cas=CAS, policy={**shared, "secrets": later})

    assert len(run(program).resources) == 2
