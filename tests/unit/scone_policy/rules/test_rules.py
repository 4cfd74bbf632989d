"""Rules of the session language that decide before an upload what a CAS would say to it, and where they say it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scone_policy import PolicyError, parse
from scone_policy.rules.check import recall, written_problems
from scone_policy.rules.language_versions import oldest_version
from scone_policy.rules.warnings import cautions
from scone_policy.syntax.holes import Holes
from scone_policy.syntax.yaml_source import show
from scone_provider.cas.identity import Identity
from support.policy_strategies import KEY_HASH, PUBLIC_KEYS

HEX = "ab" * 32
TAG = "ab" * 16
UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"
KEY = {"name": "k", "kind": "private-key"}
CERT = {"name": "c", "kind": "x509", "private_key": "k"}


def session(version: str = "0.3", **sections: Any) -> dict[str, Any]:
    """A session with these sections."""
    return {"name": "app", "version": version, **sections}


def secrets(*entries: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A session with these secrets."""
    return session(secrets=list(entries), **sections)


def service(**keys: Any) -> dict[str, Any]:
    """The services of a session with one, called s."""
    return {"services": [{"name": "s", "attestation": {"mrenclave": HEX}, **keys}]}


def otp(written: str) -> dict[str, Any]:
    """The security section that demands one-time passwords."""
    return {"security": {"attestation": {"one_time_password_shared_secret": written}}}


def pem(curve: ec.EllipticCurve) -> str:
    """A private key on a curve."""
    key = ec.generate_private_key(curve)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def leaf_certificate() -> str:
    """A self-signed certificate that is none of a CA."""
    return Identity.create(common_name="leaf", now=datetime(2026, 1, 1, tzinfo=UTC)).certificate_pem


AKV = {"name": "a", "kind": "ascii"}
TOKEN = {"name": "t", "kind": "aad-token", "tenant_id": None, "client_id": "", "application_secret": "planted"}
FRAGMENT = {"name": "f", "kind": "config-fragment"}
JWT = {"name": "j", "kind": "jwt", "signer": "k", "alg": "ES384", "validity": {"for": "1h"}}
SHORT_KEY = {"name": "b", "kind": "binary", "size": 16}
FILES = {"fspf_key": "$$SCONE::b$$", "fspf_tag": TAG}
NO_PASSWORD = "can never share one-time passwords"
PASSWORD = "one_time_password_shared_secret"
REFUSED = [
    # What a CAS would refuse at upload.
    (secrets(SHORT_KEY, **service(**FILES)), "services.s.fspf_key: ", "b must be a binary secret of 32 bytes"),
    (secrets({"name": "b", "kind": "binary", "value": "00"}, **service(**FILES)), "services.s.fspf_key: ", "32 bytes"),
    (secrets({**SHORT_KEY, "kind": "ascii"}, volumes=[{"name": "v", **FILES}]), "volumes.v.fspf_key: ", "32 bytes"),
    (secrets({**AKV}, access_policy={"read": ["$$SCONE::a$$"]}), "access_policy.read: ", "a is generated"),
    (secrets(KEY, access_policy={"read": ["$$SCONE::k$$"]}), "access_policy.read: ", "k is a secret of kind private"),
    (
        secrets(AKV, access_policy={"update": [{"require-all": [{"signer": "$$SCONE::a$$"}]}]}),
        "access_policy.update: ",
        "generated",
    ),
    (secrets({**AKV, "value": "x"}, access_policy="$$SCONE::a$$"), "access_policy: ", "must be one of config-fragment"),
    (secrets({**AKV, "value": "x"}, security="$$SCONE::a$$"), "security: ", "must be one of config-fragment"),
    (secrets(AKV, **service(attestation="$$SCONE::a$$")), "services.s.attestation: ", "config-fragment"),
    (
        secrets(AKV, **service(attestation={"signer": "$$SCONE::a$$"})),
        "services.s.attestation.signer: ",
        "config-fragment",
    ),
    (secrets(KEY, CERT, {**CERT, "name": "d", "issuer": "c"}), "secrets.d.issuer: ", "of kind x509-ca"),
    (
        secrets(KEY, {**CERT, "import": {"session": "o", "secret": "c"}}, {**CERT, "name": "d", "issuer": "c"}),
        "secrets.d.issuer: ",
        "of kind x509-ca",
    ),
    (
        secrets(KEY, {**CERT, "kind": "x509-ca", "value": leaf_certificate()}, {**CERT, "name": "d", "issuer": "c"}),
        "secrets.d.issuer: ",
        "not one of a CA",
    ),
    (secrets({**KEY, "value": pem(ec.SECP256R1())}, JWT), "secrets.j.signer: ", "P-384"),
    (secrets(KEY, {**JWT, "signer": "$$SCONE::k$$"}), "secrets.j.signer: ", "P-384"),
    (secrets(KEY, {**CERT, "common_name": ""}), "secrets.c.common_name: ", "1 to 64"),
    (secrets(KEY, {**CERT, "common_name": "x" * 65}), "secrets.c.common_name: ", "1 to 64"),
    # One-time passwords that could never be given.
    (secrets({**AKV}, **otp("$$SCONE::a$$")), f"security.attestation.{PASSWORD}: ", NO_PASSWORD),
    (secrets({**AKV, "value": "no!"}, **otp("$$SCONE::a$$")), f"security.attestation.{PASSWORD}: ", NO_PASSWORD),
    (secrets(SHORT_KEY, **otp("$$SCONE::b:hex$$")), f"security.attestation.{PASSWORD}: ", NO_PASSWORD),
    (
        secrets({**SHORT_KEY, "size": 15}, **service(**{PASSWORD: "$$SCONE::b:base32nopad$$"})),
        f"services.s.{PASSWORD}: ",
        NO_PASSWORD,
    ),
    (secrets(KEY, **otp("$$SCONE::k$$")), f"security.attestation.{PASSWORD}: ", NO_PASSWORD),
    (secrets({**FRAGMENT, "value": 7}, **otp("$$SCONE::f$$")), f"security.attestation.{PASSWORD}: ", NO_PASSWORD),
    # Fragments, judged as the sections that they stand for.
    (
        secrets({**FRAGMENT, "value": {"raed": ["ANY"]}}, access_policy="$$SCONE::f$$"),
        "secrets.f.value: ",
        "stands in access_policy, and does not fit there: unknown key",
    ),
    (secrets({**FRAGMENT, "value": None}, access_policy="$$SCONE::f$$"), "secrets.f.value: ", "must be a map"),
    (
        secrets({**FRAGMENT, "value": ["CREATOR", "planted"]}, access_policy={"read": ["$$SCONE::f$$"]}),
        "secrets.f.value: ",
        "stands in access_policy.read, and does not fit there: breaks a rule",
    ),
    (
        secrets({**FRAGMENT, "value": ["planted"]}, security={"attestation": {"tolerate": ["$$SCONE::f$$"]}}),
        "secrets.f.value: ",
        "security.attestation.tolerate",
    ),
    (
        secrets({**FRAGMENT, "value": [{"mrenclave": HEX}, {"planted": 1}]}, **service(attestation="$$SCONE::f$$")),
        "secrets.f.value: ",
        "stands in services.s.attestation, and does not fit there: unknown key",
    ),
    (
        secrets({**FRAGMENT, "value": "$$SCONE::k$$"}, KEY, security="$$SCONE::f$$"),
        "secrets.f.value: ",
        "holds a placeholder",
    ),
    # Placeholders and names where only a real CAS looks.
    (secrets({**AKV, "import_akv": {"token": "$$SCONE::no$$"}}), "secrets.a.import_akv.token: ", "names no secret"),
    (secrets({**AKV, "import_akv": {"at": {"x": "$$SCONE::no"}}}), "secrets.a.import_akv.at.x: ", "not closed"),
    (secrets({**AKV, "import_akv": {"token": "$$SCONE::no"}}), "secrets.a.import_akv.token: ", "not closed"),
    (secrets({**AKV, "import_akv": {"token": "t"}}), "secrets.a.import_akv.token: ", "of kind aad-token"),
    (secrets(KEY, {**CERT, "common_name": "$$SCONE::no$$"}), "secrets.c.common_name: ", "names no secret"),
    (secrets(KEY, {**CERT, "issuer": "$$SCONE::no$$"}), "secrets.c.issuer: ", "names no secret"),
    (
        secrets(
            {"name": "t", "kind": "aad-token", "import": {"session": "o", "secret": "t"}},
            secret_config={"store_in": {"akv": {"token": "t", "vault": "$$SCONE::no$$"}}},
        ),
        "secret_config.store_in.vault: ",
        "names no secret",
    ),
    (session(secret_config={"store_in": {"akv": None}}), "secret_config.store_in: ", "!akv with token and vault"),
    # The rest.
    (
        session(**service(attestation={"signer": {"mrsigner": HEX, "isvprodid": 65536}})),
        "services.s.attestation.signer.isvprodid: ",
        "65535",
    ),
    (
        secrets({**AKV, "import": {"session": f"https://host/cas_key={HEX},session=a", "secret": "b"}}),
        "secrets.a.import: ",
        "leave out https://",
    ),
    (secrets({**AKV, "import_akv": {"a": {"b": None}}}), "secrets.a.import_akv.a.b: ", "must have a value"),
    (secrets({"name": "b", "kind": "x509"}), "secrets.b: ", "needs private_key"),
    (secrets({"name": "f", "kind": "config-fragment"}), "secrets.f: ", "needs value or import"),
    (secrets({**TOKEN, "application_secret": None}), "secrets.t: ", "needs either application_secret"),
    (secrets({"name": "t", "kind": "aad-token", "client_id": ""}), "secrets.t: ", "needs tenant_id"),
    (secrets({**AKV, "export": {"session_hash": HEX}}), "secrets.a.export: ", "Add one of the two"),
    (secrets({**AKV, "export": [{"session": "a", "namespace": "b"}]}), "secrets.a.export[0]: ", "Keep one of the two"),
    (secrets({**AKV, "export": [1]}), "secrets.a.export: ", "list of maps"),
    (secrets({**AKV, "kind": "ASCII"}), "secrets.a.kind: ", "Did you mean ascii?"),
    (secrets({**AKV, "Export": "o"}), "secrets.a.Export: ", "Did you mean export?"),
    (session(access_policy={"read": ["creator"]}), "access_policy.read[0]: ", "Did you mean CREATOR?"),
    (session(access_policy={"update": ["require_all"]}), "access_policy.update[0]: ", "Make a map of it: `- require-a"),
    (
        session(security={"attestation": {"tolerate": "debug-mode, hyperthreading"}}),
        "security.attestation.tolerate",
        "Write one a line: `- hyperthreading`.",
    ),
    (
        session(security={"attestation": {"ignore_advisories": ["INTEL-SA-00161,INTEL-SA-00233"]}}),
        "security.attestation.ignore_advisories[0]: ",
        "commas",
    ),
    (secrets({"name": "\\$SECRET", "kind": "ascii"}), "secrets.\\$SECRET", "--set"),
    (session(name="team/\\$SESSION"), "name: ", "Leave the backslash out"),
]


@pytest.mark.parametrize(("data", "path", "words"), REFUSED, ids=[f"{path}{words}" for _, path, words in REFUSED])
def test_each_rule_rejects_with_path_and_words(data: dict[str, Any], path: str, words: str) -> None:
    """A broken rule is one error at the very key that breaks it, and nothing of a secret stands in it."""
    with pytest.raises(PolicyError) as caught:
        parse(data)
    assert caught.value.parts == (), caught.value
    assert str(caught.value).startswith(path)
    assert words in str(caught.value)
    assert "planted" not in str(caught.value)


HOLE = Holes().punch(object())
TAKEN = [
    secrets({"name": "b", "kind": "binary", "size": 32}, **service(**FILES)),
    secrets({"name": "b", "kind": "binary", "value": HOLE}, **service(**FILES)),
    secrets({"name": "b", "kind": "binary", "import": {"session": "o", "secret": "b"}}, **service(**FILES)),
    secrets({**AKV, "value": KEY_HASH}, access_policy={"read": ["$$SCONE::a$$"]}),
    secrets({**AKV, "value": HOLE}, **otp("$$SCONE::a$$")),
    secrets({**AKV, "value": "A" * 26}, **otp("$$SCONE::a$$")),
    secrets(SHORT_KEY, **otp("$$SCONE::b:base32$$")),
    secrets({"name": "b", "import": {"session": "o", "secret": "b"}}, **otp("$$SCONE::b$$")),
    secrets({**KEY, "value": pem(ec.SECP384R1())}, JWT),
    secrets(KEY, {"name": "ca", "import": {"session": "o", "secret": "ca"}}, {**CERT, "issuer": "ca"}),
    secrets({**FRAGMENT, "value": {"read": ["ANY"]}}, access_policy="$$SCONE::f$$"),
    secrets({**FRAGMENT, "value": ["CREATOR", KEY_HASH]}, access_policy={"update": ["$$SCONE::f$$"]}),
    secrets({**FRAGMENT, "value": [{"mrenclave": HEX}]}, **service(attestation=["$$SCONE::f$$", {"mrenclave": HEX}])),
    secrets({**FRAGMENT, "value": [HEX, TAG * 2]}, **service(attestation={"mrenclave": [HEX, "$$SCONE::f$$"]})),
    secrets({**FRAGMENT, "value": {"raed": "$$SCONE::x$$"}}, **service(environment={"A": "$$SCONE::f$$"})),
    session(**service(attestation={"signer": {"mrsigner": HEX, "isvprodid": 65535}})),
    secrets({**AKV, "export": ["other", f"/session=o,session_hash={HEX}", {"namespace": "team"}]}),
]


@pytest.mark.parametrize("data", TAKEN)
def test_what_may_work_is_taken(data: dict[str, Any]) -> None:
    """The same places with what fits, with values that are not known yet, and with what only another session knows."""
    parse(data)


ITEMS = [
    ("access_policy: {read: [CREATOR, ANYONE, NONE OF US]}", ["access_policy.read[1]", "access_policy.read[2]"]),
    (
        f"access_policy: {{update: [CREATOR, require-all: [CREATOR, {KEY_HASH}, me]]}}",
        ["access_policy.update[1].require-all[2]"],
    ),
    ("security: {attestation: {tolerate: [debug, no]}}", ["security.attestation.tolerate[1]"]),
    ("security: {attestation: {ignore_advisories: [SA]}}", ["security.attestation.ignore_advisories[0]"]),
    (f"services: [{{name: s, mrenclaves: [{HEX}, zz]}}]", ["services.s.mrenclaves[1]"]),
    (f"services: [{{name: s, mrenclaves: [{HEX}], platforms: [x]}}]", ["services.s.platforms[0]"]),
    ("secrets: [{name: c, kind: x509, private_key: k, san: ['dns:a', 'b']}]", ["secrets.c.san[1]"]),
    ("secrets: [{name: k, kind: private-key, size: 3}]", ["secrets.k.size"]),
    ("secrets: [{name: k}]", ["secrets.k.kind"]),
    ("secrets: [{name: c, kind: x509, private_key: k, endpoint: client, dns: [a]}]", ["secrets.c.dns"]),
    ("secrets: [{name: k, kind: ascii, import: {session: a, secret: b, cas_url: c}}]", ["secrets.k.import.cas_url"]),
    (
        "secrets: [{name: j, kind: jwt, signer: k, alg: ES384, validity: {for: 1h}, payload: {iat: '1'}}]",
        ["secrets.j.payload.iat"],
    ),
    ("security: {attestation: {mode: maa}}", ["security.attestation.mode"]),
    ("security: {attestation: {url: 'https://a'}}", ["security.attestation.url"]),
    (f"volumes: [{{name: v, import: {{session: a, volume: b}}, fspf_key: {HEX}}}]", ["volumes.v.fspf_key"]),
    (f"services: [{{name: s, mrenclaves: [{HEX}], fspf_tag: {TAG}}}]", ["services.s.fspf_tag"]),
    (
        f"services: [{{name: s, attestation: {{signer: {{mrsigner: {HEX}, isvsvn: 1, isvsvn_max: 2}}}}}}]",
        ["services.s.attestation.signer.isvsvn"],
    ),
]


@pytest.mark.parametrize(("text", "paths"), ITEMS, ids=[paths[0] for _, paths in ITEMS])
def test_the_very_item_is_named(text: str, paths: list[str]) -> None:
    """Of a list the item that breaks a rule, of a section the key."""
    with pytest.raises(PolicyError) as caught:
        parse(f'name: app\nversion: "0.3"\n{text}\n', file="f.yaml")
    found = caught.value.parts or (caught.value,)
    assert [error.where.partition(": ")[2] for error in found] == paths


LINES = f"""\
name: app
version: "0.3"
services:
  - name: application
    mrenclaves:
      - {HEX}
      - zz
access_policy:
  read:
    - CREATOR
    - ANYONE
  update:
    - require-all:
        - CREATOR
        - me
secrets:
  - name: k
    kind: private-key
    size: 3
"""


def test_the_very_item_has_its_line() -> None:
    """The line is that of the item or key, not of what it stands in; the paths are those of the document."""
    with pytest.raises(PolicyError) as caught:
        parse(LINES, file="f.yaml")
    assert [error.where for error in caught.value.parts] == [
        "f.yaml:7: services.application.mrenclaves[1]",
        "f.yaml:11: access_policy.read[1]",
        "f.yaml:15: access_policy.update[0].require-all[1]",
        "f.yaml:19: secrets.k.size",
    ]


def test_the_first_dns_name_on_paper_is_the_common_name() -> None:
    """Names are a set, but the first of them names the subject, be they under dns or under san."""

    def canonical(**keys: Any) -> Any:
        found: Any = parse(secrets(KEY, {**CERT, **keys})).canonical()
        assert parse(found).canonical() == found
        return found["secrets"]["c"]

    assert canonical(san=["ip:10.0.0.1", "dns:z.com", "dns:a.com"])["common_name"] == "z.com"
    assert canonical(dns=["z.com.", "a.com"])["common_name"] == "z.com"
    assert canonical(dns=["m.com"], san=["dns:z.com", "dns:a.com"]).get("common_name") is None
    assert canonical(san=["dns:z.com", "dns:a.com"], common_name="own")["common_name"] == "own"
    assert "common_name" not in canonical(san=["dns:z.com", "ip:10.0.0.1"])


OLD = {"name": "app", "secrets": [{"name": "k", "kind": "ascii"}]}
NAMED_LIKE_SECTIONS = [
    {"name": "security", "mrenclaves": [HEX], "environment": {"A": "$$SCONE::k$$"}},
    {"name": "attestation", "mrenclaves": [HEX], "command": "run $$SCONE::k$$"},
    *(
        {"name": "s", "mrenclaves": [HEX], "environment": {variable: "$$SCONE::k$$"}}
        for variable in ("platforms", "fspf_key", "access_policy", "one_time_password_shared_secret")
    ),
]


@pytest.mark.parametrize("entry", NAMED_LIKE_SECTIONS)
def test_names_are_no_features(entry: dict[str, Any]) -> None:
    """A service, a variable or a file that is called like a section needs no newer version for its placeholders."""
    found = parse({**OLD, "version": "0.3.4", "services": [entry]})
    assert oldest_version(found, at_least="0.3.4") == "0.3.4"
    image = {"name": "volumes", "injection_files": [{"path": "/fspf_key", "content": "$$SCONE::k$$"}]}
    parse({**OLD, "version": "0.3.4", "images": [image]})


DEFAULTS = [
    ({"images": [{"name": "i", "injection_files": [{"path": "/a", "content": "x", "permission": "0o700"}]}]}, 10),
    ({"secrets": [{**KEY, "migrate": False}]}, 7),
    ({"security": {"singleton_enclaves": False}}, 9),
    ({"security": {"attestation": {"must_be_sgx_local": False}}}, 11),
    (
        {
            "services": {
                "s": {"attestation": {"mrenclave": HEX}, "fspf_update_policy": "rollback_protected_reinitializable"}
            }
        },
        11,
    ),
    ({"secrets": [{**AKV, "import_akv": {"vault": "v", "decryption": {"key": "k"}}}]}, 11),
]


@pytest.mark.parametrize(("sections", "minor"), DEFAULTS)
def test_a_key_needs_its_version_even_at_its_default(sections: dict[str, Any], minor: int) -> None:
    """An older CAS does not know the key at all, whatever it says; null says nothing."""
    data = session(**sections)
    parse({**data, "version": f"0.3.{minor}"})
    with pytest.raises(PolicyError, match=rf"needs version 0\.3\.{minor}, but"):
        parse({**data, "version": f"0.3.{minor - 1}"})


EQUAL = [
    (session(security={"attestation": {"tolerate": "debug-mode"}}), {"attestation": {"tolerate": ["debug-mode"]}}),
    (
        session(security={"attestation": {"ignore_advisories": "INTEL-SA-00161"}}),
        {"attestation": {"ignore_advisories": ["INTEL-SA-00161"]}},
    ),
]


@pytest.mark.parametrize(("data", "security"), EQUAL)
def test_one_text_is_a_list_of_one(data: dict[str, Any], security: dict[str, Any]) -> None:
    """Where texts are listed a single one may stand without its list."""
    assert parse(data).canonical() == parse(session(security=security)).canonical()


@pytest.mark.parametrize("spelling", ["!cas ~", "!cas null", "!cas", "!cas ''", "cas", "~"])
def test_spellings_of_the_store(spelling: str) -> None:
    """CAS itself keeps the secrets, however that is written."""
    found = parse(f'name: a\nversion: "0.3"\nsecret_config:\n  store_in: {spelling}\n')
    assert found.secret_config.store_in is None


def test_a_namespace_by_one_line() -> None:
    """Under `namespace` a one-line reference names the namespace's session, and may say `namespace` too."""
    long = {"namespace": "team", "session_hash": HEX}
    for short in (f"/session=team,session_hash={HEX}", f"/namespace=team,session_hash={HEX}"):
        found = [parse(secrets({**AKV, "export": one})).canonical() for one in ({"namespace": short}, long)]
        assert found[0] == found[1]
    with pytest.raises(PolicyError, match="stands both beside"):
        parse(secrets({**AKV, "export": {"namespace": f"/session=t,session_hash={HEX}", "session_hash": HEX}}))


def test_import_akv_keeps_any_tree() -> None:
    """The vendor's keys are its own: maps in maps come back from the canonical form and from the wire."""
    place = {"vault": "v", "decryption": {"algorithm": "RSA-OAEP-256", "versions": [1, 2]}}
    found: Any = parse(secrets({**AKV, "import_akv": place})).canonical()
    kept = found["secrets"]["a"]["import_akv"]
    assert kept == {"vault": "v", "decryption": {"algorithm": "RSA-OAEP-256", "versions": ["1", "2"]}}
    assert parse(parse(found).wire()).canonical() == found


def test_a_mount_keeps_what_it_says() -> None:
    """A mount that states the default is stricter than its volume: the wire says so."""
    volume = {"name": "v", "update_policy": "no_rollback_protection"}
    mount = {"name": "v", "path": "/v", "update_policy": "rollback_protected"}
    found = parse(session(volumes=[volume], images=[{"name": "i", "volumes": [mount]}]))
    assert parse(found.wire()).images["i"].volumes["/v"].update_policy == "rollback_protected"
    assert parse(found.canonical()).canonical() == found.canonical()


def said(**sections: Any) -> list[str]:
    """Where a session is warned of."""
    return [show(problem.path) for problem in cautions(parse(session(**sections)))]


def test_ignoring_every_advisory_is_warned_of() -> None:
    """`"*"` stands for itself only beside debug-mode; where a secret holds the tolerations nobody knows."""
    star = {"ignore_advisories": "*"}
    assert said(security={"attestation": star}) == ["security.attestation.ignore_advisories"]
    assert said(security={"attestation": {**star, "tolerate": ["debug"]}}) == []
    fragment = {**FRAGMENT, "import": {"session": "o", "secret": "f"}}
    assert said(secrets=[fragment], security={"attestation": {**star, "tolerate": ["$$SCONE::f$$"]}}) == []


def test_an_empty_token_is_warned_of() -> None:
    """An empty variable leaves null or an empty text as tenant and client: both are the empty text, and are told."""
    assert said(secrets=[TOKEN]) == ["secrets.t.tenant_id", "secrets.t.client_id"]
    assert parse(secrets(TOKEN)).canonical() == parse(secrets({**TOKEN, "tenant_id": ""})).canonical()


def test_a_name_alone_is_a_receiver() -> None:
    """Names of sessions as texts, alone or in a list, mean what maps with `session` mean."""
    long = [{"session": "o"}, {"session": "p", "session_hash": HEX}]
    short = ["o", f"/session=p,session_hash={HEX}"]
    assert parse(secrets({**AKV, "export": short})).canonical() == parse(secrets({**AKV, "export": long})).canonical()
    assert parse(secrets({**AKV, "export": "o"})).canonical() == parse(secrets({**AKV, "export": long[:1]})).canonical()


def test_a_creator_is_either_ignored_or_refused() -> None:
    """What no CAS prints is refused (`written_problems`), so nobody is told that it is ignored."""
    for creator in ("", "me", {"signer": ""}):
        found = parse(session(creator=creator))
        assert [problem.path for problem in written_problems(found)] == [("creator",)]
        assert said(creator=creator) == []
    printed = leaf_certificate()
    assert written_problems(parse(session(creator=printed))) == []
    assert said(creator=printed) == ["creator"]


def test_raw_bytes_in_texts_are_warned_of() -> None:
    """A form that may hold NUL is named with the one that is text; files and keys take any bytes."""
    binary = {"name": "b", "kind": "binary", "size": 32}
    text = {"name": "t", "kind": "binary", "value": "4142"}
    entry = service(**FILES, environment={"A": "$$SCONE::b$$", "B": "$$SCONE::b:hex$$", "C": "$$SCONE::t$$"})
    files = [{"path": "/a", "content": "$$SCONE::b$$"}, {"path": "/b", "content": "$$SCONE::b|escape(json)$$"}]
    found = said(secrets=[binary, text], images=[{"name": "i", "injection_files": files}], **entry)
    assert found == ["services.s.environment.A", "images.i.injection_files./b.content"]


def test_what_was_taken_once_is_read_again() -> None:
    """A session that a store holds is not judged by rules that came later; what is no session is still refused."""
    text = f'name: app\nversion: "0.3.5"\nservices: [{{name: s, command: "$$SCONE::no$$", mrenclaves: [{HEX}]}}]\n'
    with pytest.raises(PolicyError):
        parse(text)
    assert recall(text).services["s"].command == ("$$SCONE::no$$",)
    with pytest.raises(PolicyError, match="unknown key"):
        recall("name: a\nversion: '0.3'\nzonk: 1\n")


def test_signers_in_access_rules_may_be_secrets() -> None:
    """A public key that another session holds may sign: its kind is not known here."""
    key = {"name": "p", "kind": "public-key", "value": PUBLIC_KEYS[0]}
    parse(secrets(key, access_policy={"update": [{"signer": "$$SCONE::p$$"}]}))
