"""Sessions: every rule that rejects, one canonical form for one meaning, wire text that comes back."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy import PolicyError, PolicyErrors, Session, is_retired, parse, policy_digest, retired, secret_paths
from scone_policy.syntax.holes import Holes, has_hole
from support.policy_strategies import KEY_HASH, PRINTABLE, TEXT, wire_sessions

HEX = "ab" * 32
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAQIDBAUGBwg=\n-----END CERTIFICATE-----\n"


def minimal(**changes: Any) -> dict[str, Any]:
    """A small valid session in wire shape, with top-level keys replaced."""
    found: dict[str, Any] = {
        "name": "app/api",
        "version": "0.3.10",
        "services": [{"name": "api", "command": "run", "attestation": {"mrenclave": HEX}}],
    }
    return {**found, **changes}


def service(**changes: Any) -> dict[str, Any]:
    """The minimal session with keys of its service replaced."""
    session = minimal()
    session["services"][0].update(changes)
    return session


def secret(**changes: Any) -> dict[str, Any]:
    """The minimal session with one secret."""
    return minimal(secrets=[{"name": "s", "kind": "ascii", **changes}])


def attestation(**changes: Any) -> dict[str, Any]:
    """The minimal session with one security section."""
    return minimal(security={"attestation": changes})


def access(*entries: Any) -> dict[str, Any]:
    """The minimal session with these readers."""
    return minimal(access_policy={"read": list(entries)})


REFUSED = [
    (minimal(version=None), "version", "0.1"),
    (minimal(version="0.2"), "version", "not supported"),
    (minimal(version="0.4"), "version", "not supported"),
    (minimal(name="a//b"), "name", "//"),
    (minimal(name="/a"), "name", "begin"),
    (minimal(name="a/../b"), "name", "relative"),
    (minimal(name="a b"), "name", "letters"),
    (minimal(name="x" * 129), "name", "128"),
    (minimal(name="/".join(["x" * 100] * 11)), "name", "1024"),
    (minimal(name=None), "name", "value"),
    (minimal(predecessor="ab"), "predecessor", "32 bytes"),
    (minimal(salt=HEX), "salt", "16 bytes"),
    (minimal(zonk=1), "zonk", "unknown key"),
    (minimal(secret_config={"store_in": "x"}), "secret_config.store_in", "!cas"),
    (minimal(services="x"), "services", "list of maps"),
    (minimal(services=[{"command": "x"}]), "services", "no name"),
    (minimal(services=["api"]), "services", "no name"),
    (minimal(services=[{"name": "a"}, {"name": "a"}]), "services", "two entries"),
    (minimal(services=[{"name": "a b"}]), "services.a b", "letters"),
    (minimal(services=[{"name": "a", "command": "x"}]), "services.a", "at least one attestation"),
    (service(zonk=1), "services.api.zonk", "unknown key"),
    (service(tags=1), "services.api.tags", "list of tags"),
    (service(command=""), "services.api.command", "program"),
    (service(command=[]), "services.api.command", "program"),
    (service(command={"a": 1}), "services.api.command", "text"),
    (service(command="a 'b"), "services.api.command", "not closed"),
    (service(command=["a\x00"]), "services.api.command", "NUL"),
    (service(environment=["A=1"]), "services.api.environment", "map"),
    (service(environment={"A=B": "1"}), "services.api.environment.A=B", "hold ="),
    (service(environment={"A": None}), "services.api.environment.A", "value"),
    (service(environment={"A": ["1"]}), "services.api.environment.A", "text"),
    (service(environment={"A": "\ud800"}), "services.api.environment.A", "Unicode"),
    (service(fspf_tag="ab" * 16), "services.api", "needs fspf_key"),
    (service(fspf_key=HEX), "services.api", "needs fspf_tag"),
    (service(fspf_key="secret!", fspf_tag="ab" * 16), "services.api.fspf_key", "32 bytes"),
    (service(fspf_path="a"), "services.api.fspf_path", "absolute"),
    (service(fspf_update_policy="never"), "services.api.fspf_update_policy", "rollback"),
    (service(image_name="none"), "services.api.image_name", "no image"),
    (service(attestation={}), "services.api.attestation: ", "mrenclave or signer"),
    (service(attestation={"mrenclave": "ab"}), "services.api.attestation.mrenclave: ", "32 bytes"),
    (service(attestation={"signer": {"mrsigner": HEX, "isvsvn": 1, "isvsvn_max": 2}}), "services.api", "excludes"),
    (service(attestation={"signer": {"mrsigner": HEX, "isvsvn_min": 3, "isvsvn_max": 2}}), "services.api", "larger"),
    (service(mrenclaves=[HEX]), "services.api", "exclude each other"),
    (service(mrenclaves=HEX, attestation=None), "services.api.mrenclaves", "list"),
    (service(command="a $$SCONE::no$$"), "services.api.command", "names no secret"),
    (service(environment={"A": "$$SCONE::no$$"}), "services.api.environment.A", "names no secret"),
    (service(environment={"A": "$$SCONE::a b$$"}), "services.api.environment.A", "look like"),
    (minimal(images=[{"name": "i", "injection_files": ["a"]}]), "images.i.injection_files.a", "absolute"),
    (
        minimal(images=[{"name": "i", "injection_files": [{"path": "/a", "permission": "755"}]}]),
        "images.i.injection_files./a.permission",
        "0o600",
    ),
    (
        minimal(images=[{"name": "i", "injection_files": [{"path": "/a", "content": "$$SCONE::no$$"}]}]),
        "images.i.injection_files./a.content",
        "names no secret",
    ),
    (minimal(images=[{"name": "i", "volumes": [{"name": "v"}]}]), "images.i.volumes", "no path"),
    (secret(**{"import": {"session": "../../../o", "secret": "s"}}), "secrets.s.import.session", "above the root"),
    (secret(kind=None), "secrets.s", "kind is missing"),
    (secret(kind="x509"), "secrets.s", "needs private_key"),
    (secret(private_key="k"), "secrets.s", "private_key does not belong"),
    (secret(kind="password"), "secrets.s.kind", "must be one of"),
    (secret(size=0), "secrets.s", "between 1"),
    (secret(size="ten"), "secrets.s.size", "whole number"),
    (secret(size=True), "secrets.s.size", "whole number"),
    (secret(value="abc", size=4), "secrets.s", "size differs"),
    (secret(value="ä"), "secrets.s", "ASCII"),
    (secret(kind="binary", value="abc"), "secrets.s", "hex"),
    (secret(value="abc", **{"import": {"session": "o", "secret": "s"}}), "secrets.s", "neither value"),
    (secret(**{"import": {"session": "o"}}), "secrets.s.import.secret", "missing"),
    (
        minimal(version="0.3.9", secrets=[{"name": "s", "import": {"session": "../o", "secret": "s"}}]),
        "secrets.s",
        "a relative name needs version 0.3.10",
    ),
    (
        secret(**{"import": {"session": "o", "secret": "s", "cas_url": "x"}}),
        "secrets.s.import",
        "cas_key",
    ),
    (secret(export={"session": "a", "namespace": "b"}), "secrets.s.export: ", "either"),
    (secret(export=1), "secrets.s.export", "list of maps"),
    (secret(export_public="maybe"), "secrets.s.export_public", "true or false"),
    (access(), "access_policy.read", "empty"),
    (access("ANY", "CREATOR"), "access_policy.read", "alone"),
    (access("NONE", "CREATOR"), "access_policy.read", "alone"),
    (access("me"), "access_policy.read", "key hash"),
    (access(KEY_HASH[:-1] + "2"), "access_policy.read", "checksum"),
    (access({"signer": "x"}), "access_policy.read", "public key as PEM"),
    (access({"require-all": ["CREATOR"]}), "access_policy.read", "update and create_sessions only"),
    (access("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"), "access_policy.read", "damaged"),
    (minimal(access_policy={"delete": ["ANY"]}), "access_policy.delete", "unknown key"),
    (attestation(mode="soft"), "security.attestation.mode", "hardware"),
    (attestation(mode="maa"), "security.attestation", "url"),
    (attestation(mode="maa", url="https://a"), "security.attestation", "maa-managed-tcb"),
    (attestation(url="https://a"), "security.attestation", "mode maa"),
    (attestation(tolerate=["everything"]), "security.attestation.tolerate", "everything"),
    (attestation(ignore_advisories=["SA-1"]), "security.attestation.ignore_advisories", "INTEL-SA"),
    (attestation(ignore_advisories=["*", "INTEL-SA-00001"]), "security.attestation.ignore_advisories", "alone"),
    (attestation(must_be_sgx_local="perhaps"), "security.attestation.must_be_sgx_local", "true or false"),
]


@pytest.mark.parametrize(("data", "path", "words"), REFUSED, ids=[f"{path}: {words}" for _, path, words in REFUSED])
def test_each_rule_rejects_with_path_and_words(data: dict[str, Any], path: str, words: str) -> None:
    """A broken rule is one error, which begins with the path of the offending key and says the rule."""
    with pytest.raises(PolicyError) as caught:
        parse(data)
    assert not isinstance(caught.value, PolicyErrors), caught.value
    assert str(caught.value).startswith(path)
    assert words in caught.value.what


def test_all_broken_rules_are_listed_with_their_lines() -> None:
    """One run tells everything that is wrong with a document, in file:line form, and shows no value."""
    with pytest.raises(PolicyErrors) as caught:
        parse(
            "name: a b\nversion: 0.3\nsecrets:\n  - name: s\n    kind: hunter2\n    size: x\nzonk: 1\n", file="s.yaml"
        )
    lines = str(caught.value).splitlines()
    assert [line.strip().partition(": ")[0] for line in lines[1:]] == ["s.yaml:1", "s.yaml:5", "s.yaml:6", "s.yaml:7"]
    assert "hunter2" not in str(caught.value)


@given(st.data(), wire_sessions())
def test_no_error_shows_a_secret_value(data: st.DataObject, session: dict[str, Any]) -> None:
    """Whatever is wrong elsewhere, an explicit secret value never stands in the error."""
    planted = "PLANTED-secret-value"
    session["secrets"] = [
        {"name": "s", "kind": data.draw(st.sampled_from(["ascii", "binary", "x509"])), "value": planted}
    ]
    broken = data.draw(st.sampled_from(["size", "zonk", "export", "import"]))
    session["secrets"][0][broken] = data.draw(TEXT)
    with pytest.raises(PolicyError) as caught:
        parse(session)
    assert planted not in str(caught.value)


@pytest.mark.parametrize("data", ["", "[]", "just text", "1", "~"])
def test_a_session_must_be_a_map(data: str) -> None:
    """Anything but a map is refused as a whole."""
    with pytest.raises(PolicyError, match="must be a map"):
        parse(data)


@given(wire_sessions())
def test_wire_text_comes_back(data: dict[str, Any]) -> None:
    """What is written for CAS means what was parsed, and the canonical form parses to itself."""
    session = parse(data)
    canonical = session.canonical()
    assert parse(session.wire()).canonical() == canonical
    assert parse(session.wire(predecessor=HEX)).predecessor == HEX
    assert parse(canonical).canonical() == canonical
    assert parse(session.wire()).wire() == session.wire()


@given(wire_sessions())
def test_canonical_form_is_maps_and_scalars_only(data: dict[str, Any]) -> None:
    """Pulumi tracks secrets and differences in maps, not in lists; None would vanish from state."""

    def check(tree: object) -> None:
        if isinstance(tree, dict):
            assert list(tree) == sorted(tree)
            for value in tree.values():
                check(value)
        else:
            assert isinstance(tree, str | int | bool)

    check(parse(data).canonical())


@given(wire_sessions(), st.randoms(use_true_random=False))
def test_order_on_the_wire_has_no_meaning(data: dict[str, Any], random: Any) -> None:
    """Shuffled lists give the same canonical form."""
    shuffled = copy.deepcopy(data)
    for key in ("services", "images", "volumes", "secrets"):
        random.shuffle(shuffled[key])
    for entry in shuffled["access_policy"].values() if isinstance(shuffled["access_policy"], dict) else ():
        random.shuffle(entry)
    for entry in shuffled["services"]:
        if isinstance(entry["attestation"], list):
            random.shuffle(entry["attestation"])
    assert parse(shuffled).canonical() == parse(data).canonical()


EQUAL = [
    (service(command="python3 'a b'"), service(command=["python3", "a b"])),
    (service(attestation=None, mrenclaves=[HEX]), service()),
    (service(attestation={"mrenclave": [HEX]}), service()),
    (service(attestation=[{"mrenclave": HEX}]), service()),
    (service(attestation={"mrenclave": HEX.upper()}), service()),
    (
        service(attestation=[{"mrenclave": "cd" * 32}, {"mrenclave": HEX}]),
        service(attestation={"mrenclave": [HEX, "cd" * 32]}),
    ),
    (service(environment={"A": 1, "B": True, "C": 443.0}), service(environment={"A": "1", "B": "true", "C": "443"})),
    ({**service(fspf_update_policy="rollback_protected_reinitializable"), "version": "0.3"}, minimal(version="0.3")),
    (secret(), secret(size=20)),
    (secret(size=10.0), secret(size="10")),
    (secret(value="abc", size=3), secret(value="abc")),
    (secret(export_public=False, export=[]), secret()),
    (secret(export={"session": "o"}), secret(export=[{"session": "o"}])),
    (attestation(tolerate=["debug"]), attestation(tolerate=["debug-mode"])),
    (attestation(mode="hardware"), minimal()),
    (minimal(security={}), minimal()),
    (minimal(access_policy={}), minimal(access_policy={"read": ["CREATOR"], "create_sessions": ["CREATOR"]})),
    (access(CERTIFICATE), access(CERTIFICATE.replace("\n", "\r\n  "))),
    (minimal(secrets=[], images=None), minimal()),
    (minimal(predecessor=HEX, creator="-----BEGIN CERTIFICATE-----"), minimal()),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_meaning_equal_canonical_form(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Two spellings of one meaning cannot show as a difference."""
    assert parse(left).canonical() == parse(right).canonical()


def test_lists_of_alternatives_become_maps_by_short_digest() -> None:
    """Several measurements or variants are keyed by what they are, so that one more is one more key."""
    signer = {"mrsigner": "cd" * 32, "isvprodid": 1}
    variants = [{"mrenclave": [HEX, "ef" * 32]}, {"signer": signer}]
    found: Any = parse(service(attestation=variants)).canonical()["services"]
    several = found["api"]["attestation"]["any"]
    assert sorted(map(len, several)) == [8, 8]
    assert {"signer": signer} in several.values()
    (measured,) = [value["mrenclave"] for value in several.values() if "mrenclave" in value]
    assert set(measured.values()) == {HEX, "ef" * 32}


def test_wire_text_suits_the_stated_version() -> None:
    """Before 0.3.5 a command is a string, before 0.3.7 attestation is `mrenclaves`."""
    measured = {"name": "api", "command": "run", "mrenclaves": [HEX]}
    old = parse(minimal(name="api", version="0.3.4", services=[measured])).wire()
    assert "command: run\n" in old
    assert "mrenclaves:\n" in old
    assert "attestation:\n    mrenclave: " in parse(minimal()).wire()


@given(TEXT)
def test_any_text_survives_the_wire(text: str) -> None:
    """Quotes, line breaks, numbers, words of YAML: an environment value arrives as it was."""
    found = parse(parse(service(environment={"A": text})).wire()).services["api"].environment
    assert found == {"A": text}


def test_key_markers_are_replaced_on_the_wire_only() -> None:
    """State holds a marker; the wire form holds the key; a missing key or a marker from outside is refused."""
    session = parse(service(fspf_key="derived: demo/api", fspf_tag="ab" * 16))
    assert session.canonical()["services"]["api"]["fspf_key"] == "derived: demo/api"  # type: ignore[index]
    assert session.services["api"].key_is_derived
    assert f"fspf_key: {HEX}" in session.wire(fspf_keys={"api": HEX})
    with pytest.raises(PolicyError, match="not at hand"):
        session.wire()
    with pytest.raises(PolicyError, match="32 bytes"):
        parse(session.wire(fspf_keys={"api": HEX}).replace(HEX, '"derived: demo/api"', 1))


def test_holes_pass_and_stay_small() -> None:
    """An unknown scalar is accepted everywhere, changes nothing around it, and cannot be written."""
    hole = Holes().punch(object())
    data = service(
        attestation={"mrenclave": hole}, fspf_key=HEX, fspf_tag=hole, environment={"A": f"x{hole}"}, pwd=hole
    )
    data["secrets"] = [{"name": "s", "kind": "binary", "value": hole}, {"name": "t", "kind": "ascii", "size": hole}]
    data["access_policy"] = {"read": [hole]}
    session = parse(data)
    found: Any = session.canonical()
    assert found["services"]["api"]["attestation"] == {"mrenclave": hole}
    assert found["services"]["api"]["command"] == "run"
    assert found["secrets"]["t"]["size"] == hole
    assert has_hole(found)
    with pytest.raises(PolicyError, match="not known yet"):
        session.wire()


def test_retired_sessions() -> None:
    """A retired policy holds nothing, lets nobody create below it, survives the wire, and is told from a namespace."""
    session = retired("app/api")
    assert is_retired(session)
    assert is_retired(parse(session.wire(predecessor=HEX)))
    assert session.access_policy.read == session.access_policy.update == ("CREATOR",)
    assert not is_retired(parse({"name": "app", "version": "0.3"}))
    assert not is_retired(parse(minimal(access_policy={"create_sessions": ["NONE"]})))


def test_secret_paths_are_values_and_keys() -> None:
    """Explicit values and file-system keys are secrets; markers, placeholders and generated secrets are not."""
    data = minimal(
        services=[
            {"name": "a", "fspf_key": HEX, "fspf_tag": "ab" * 16, "attestation": {"mrenclave": HEX}},
            {"name": "b", "fspf_key": "derived: x", "fspf_tag": "ab" * 16, "attestation": {"mrenclave": HEX}},
        ],
        secrets=[{"name": "g", "kind": "ascii"}, {"name": "v", "kind": "ascii", "value": "x"}],
    )
    assert secret_paths(parse(data).canonical()) == [("secrets", "v", "value"), ("services", "a", "fspf_key")]


@given(PRINTABLE, PRINTABLE)
def test_digest_holds_secrets_only_through_the_given_function(left: str, right: str) -> None:
    """Two values that the keyed function maps to one give one digest; else a changed value changes the digest."""
    first, second = (parse(secret(value=value)).canonical() for value in (left, right))
    assert policy_digest(first, secret=lambda _: "x") == policy_digest(second, secret=lambda _: "x")
    assert (policy_digest(first, secret=str) == policy_digest(second, secret=str)) == (left == right)


def test_session_values_never_show_secrets() -> None:
    """The repr of a session, which ends up in logs, leaves values out."""
    session: Session = parse(secret(value="hunter2"))
    assert "hunter2" not in repr(session)
