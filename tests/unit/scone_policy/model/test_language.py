"""The rest of the session language, key by key: what each rule refuses, and what equal meanings look like."""

from typing import Any

import pytest

from scone_policy import PolicyError, parse, secret_paths
from scone_policy.syntax.durations import seconds
from scone_policy.syntax.names import absolute
from support.policy_strategies import KEY_HASH, PRIVATE_KEYS, PUBLIC_KEYS

HEX = "ab" * 32
OLD_SIGNER = "LtLcbPVddnCkH36ZcRdgYsw4H8xDbYaFZfuefkDc25uq2qdjmM"
KEY = {"name": "k", "kind": "private-key"}
UUID = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21"


def session(version: str = "0.3", **sections: Any) -> dict[str, Any]:
    """A session with these sections."""
    return {"name": "team/app", "version": version, **sections}


def secrets(*entries: dict[str, Any], version: str = "0.3") -> dict[str, Any]:
    """A session with the private key `k` and these secrets; those without a name are `s`."""
    return session(version, secrets=[KEY, *({"name": "s", **entry} for entry in entries)])


def service(version: str = "0.3", **keys: Any) -> dict[str, Any]:
    """A session with one service."""
    return session(version, services=[{"name": "a", "attestation": {"mrenclave": HEX}, **keys}])


def update(*entries: Any) -> dict[str, Any]:
    """A session that these may update."""
    return session(access_policy={"update": list(entries)})


def security(**keys: Any) -> dict[str, Any]:
    """A session with these keys in security.attestation."""
    return session(security={"attestation": keys})


CERT = {"kind": "x509", "private_key": "k"}
AAD = {"kind": "aad-token", "tenant_id": UUID, "client_id": UUID}
JWT = {"kind": "jwt", "signer": "k", "alg": "ES384", "validity": {"for": "24h"}}

REFUSED = [
    (secrets({"kind": "private-key", "key_type": "RSA-1024"}), "secrets.s.key_type", "P-256"),
    (secrets({"kind": "private-key", "size": 3}), "secrets.s", "size does not belong"),
    (secrets({"kind": "private-key", "value": "abc"}), "secrets.s", "must be PEM"),
    (secrets({"kind": "private-key", "value": PUBLIC_KEYS[0]}), "secrets.s", "must be PEM"),
    (secrets({"kind": "public-key"}), "secrets.s", "needs private_key"),
    (secrets({"kind": "public-key", "private_key": "none"}), "secrets.s.private_key", "must name a secret"),
    (secrets({**CERT, "private_key": "s"}), "secrets.s.private_key", "of kind private-key"),
    (secrets({**CERT, "issuer": "k"}), "secrets.s.issuer", "of kind x509-ca"),
    (secrets({**CERT, "kind": "x509-ca", "issuer": "s"}), "secrets.s.issuer", "in a circle"),
    (secrets({**CERT, "endpoint": "peer"}), "secrets.s.endpoint", "server, client"),
    (secrets({**CERT, "endpoint": "client", "dns": ["a"]}), "secrets.s", "endpoint: client"),
    (secrets({**CERT, "san": ["mail:a"]}), "secrets.s.san", "dns: or ip:"),
    (secrets({**CERT, "san": ["ip:1.2.3"]}), "secrets.s.san", "IP address"),
    (secrets({**CERT, "dns": ["a b"]}), "secrets.s.dns", "DNS names"),
    (secrets({**CERT, "valid_for": "soon"}), "secrets.s.valid_for", "length of time"),
    (secrets({"kind": "x509-ca", "private_key": "k", "dns": ["a"]}), "secrets.s", "dns does not belong"),
    (secrets(AAD), "secrets.s", "either application_secret"),
    (secrets({**AAD, "application_secret": "x", "certificate_thumbprint": "ab" * 20}), "secrets.s", "either"),
    (secrets({**AAD, "tenant_id": "me", "application_secret": "x"}), "secrets.s.tenant_id", "UUID"),
    (secrets({"kind": "config-fragment"}), "secrets.s", "value or import"),
    (secrets({"kind": "pgp-key", "value": "x"}), "secrets.s", "cannot be given a value"),
    (secrets(JWT), "secrets.s.signer", "P-384"),
    (secrets({**JWT, "alg": "HS256"}), "secrets.s.alg", "ES384"),
    (secrets({**JWT, "payload": {"exp": "1"}}), "secrets.s.payload", "exp is set by CAS"),
    (secrets({**JWT, "payload": {"n": 1}}), "secrets.s.payload", "must be text"),
    (
        secrets({"kind": "ascii", "import": {"session": "a", "secret": "b"}, "import_akv": {"vault": "v"}}),
        "secrets.s",
        "exclude each other",
    ),
    (secrets({"import": {"session": "/session=../a", "secret": "b"}}), "secrets.s.import", "no relative name"),
    (secrets({"import": {"session": "h/session=a", "secret": "b"}}), "secrets.s.import", "cas_url needs"),
    (secrets({"import": {"session": "/key=a,session=b", "secret": "b"}}), "secrets.s.import", "one-line"),
    (secrets({"import": {"session": "a", "secret": "b", "cas_key": HEX}}), "secrets.s.import", "belong to cas_url"),
    (session(volumes=[{"name": "v", "fspf_key": HEX}]), "volumes.v", "belong together"),
    (session(volumes=[{"name": "v", "files": "plain"}]), "volumes.v.files", "authenticated-only"),
    (session(volumes=[{"name": "v", "update_policy": "x"}]), "volumes.v.update_policy", "ephemeral"),
    (
        session(volumes=[{"name": "v", "import": {"session": "a", "volume": "b"}, "export": {"session": "c"}}]),
        "volumes.v",
        "no export of its own",
    ),
    (session(images=[{"name": "i", "volumes": [{"name": "v", "path": "/v"}]}]), "images.i.volumes./v", "no volume"),
    (session(images=[{"name": "i", "provide_secrets": ["s"]}]), "images.i.provide_secrets", "no secret"),
    (service(platforms=["here"]), "services.a.platforms", "INTEL_QE_ID"),
    (service(command="run @@0"), "services.a.command", "host arguments begin with @@1"),
    (service(command="run @@01"), "services.a.command", "host arguments begin with @@1"),
    (service(command="run @@1000"), "services.a.command", "end with @@999"),
    (service(command="run @@1 @@1"), "services.a.command", "twice"),
    (service(one_time_password_shared_secret="A" * 24), "services.a.one_time_password_shared_secret", "128 bits"),
    (service(one_time_password_shared_secret="!"), "services.a.one_time_password_shared_secret", "base32"),
    (service(environment={"A": "$$SCONE::self::software_identity$$"}), "services.a.environment.A", "names no secret"),
    (service(attestation="$$SCONE::x$$"), "services.a.attestation", "names no secret"),
    (update({"require-all": []}), "access_policy.update", "empty"),
    (update({"require-at-least-3": ["CREATOR", KEY_HASH]}), "access_policy.update", "only 2 different"),
    (update({"require-at-least-0": ["CREATOR"]}), "access_policy.update", "unknown entry"),
    (update({"require-all": ["ANY"]}), "access_policy.update", "must stand alone"),
    (update({"signer": PRIVATE_KEYS[0]}), "access_policy.update", "must be PEM"),
    (update(OLD_SIGNER), "access_policy.update", "signer: "),
    (update({"signer": "x", "require-all": []}), "access_policy.update", "one key"),
    (session(access_policy={"read": [{"signer": PUBLIC_KEYS[0]}]}), "access_policy.read", "update and create_sessions"),
    (session(access_policy={"reference": "x"}), "access_policy", "unknown key reference"),
    (session(access_policy="$$SCONE::x$$"), "access_policy", "names no secret"),
    (security(one_time_password_shared_secret="A"), "security.attestation.one_time", "base32"),
    (security(trusted_scone_qe_pubkeys=["?"]), "security.attestation.trusted_scone_qe_pubkeys", "public keys"),
    (session(security={"singleton_enclaves": "maybe"}), "security.singleton_enclaves", "true or false"),
    (session(predecessor=HEX, namespace_hash=HEX), "namespace_hash", "exclude each other"),
    (session(secret_config={"store_in": {"akv": {"vault": "v"}}}), "secret_config.store_in.token", "missing"),
    (session(secret_config={"store_in": {"akv": {"vault": "v", "token": "t"}}}), "secret_config.store_in", "aad-token"),
]


@pytest.mark.parametrize(("data", "path", "words"), REFUSED, ids=[f"{path}: {words}" for _, path, words in REFUSED])
def test_each_rule_rejects_with_path_and_words(data: dict[str, Any], path: str, words: str) -> None:
    """A broken rule is one error, which begins with the path of the offending key and says the rule."""
    with pytest.raises(PolicyError) as caught:
        parse(data)
    assert caught.value.parts == (), caught.value
    assert str(caught.value).startswith(path), caught.value
    assert words in caught.value.what


FEATURES = [
    (service(command=["a"], attestation=None, mrenclaves=[HEX]), 5, "list"),
    (secrets({"kind": "ascii", "export": {"namespace": "a"}}), 6, "namespace"),
    (service(), 7, "attestation section"),
    (secrets({**AAD, "application_secret": "x"}), 7, "aad-token"),
    (secrets({"kind": "private-key", "migrate": True}), 7, "migrate"),
    (secrets({"kind": "private-key", "key_type": "RSA-3072"}), 7, "RSA-3072"),
    (secrets({"kind": "ascii", "import_akv": {"vault": "v"}}), 7, "import_akv"),
    (security(mode="maa", url="https://a", tolerate=["maa-managed-tcb"]), 7, "maa"),
    (security(one_time_password_shared_secret="A" * 26), 8, "one-time"),
    (service(command="a @@1"), 8, "host argument"),
    (session(security={"singleton_enclaves": True}), 9, "singleton"),
    (session(security={"service_access_token": "x"}), 9, "service_access_token"),
    (secrets({"kind": "ascii", "export": {"session": "../a"}}), 10, "relative"),
    (secrets({"kind": "config-fragment", "value": 1}), 10, "config-fragment"),
    (secrets({"kind": "pgp-key"}), 10, "pgp-key"),
    (secrets({**CERT, "san": ["dns:a"]}), 10, "san"),
    (update({"signer": PUBLIC_KEYS[0]}), 10, "signer"),
    (update({"require-all": ["CREATOR"]}), 10, "require-all"),
    (session(images=[{"name": "i", "injection_files": [{"path": "/a", "permission": "0o600"}]}]), 10, "permission"),
    (session(volumes=[{"name": "v", "export": {"session": "a", "volume_alias": "b"}}]), 10, "volume_alias"),
    (service(one_time_password_shared_secret="A" * 26), 10, "one service"),
    ({**session(), "name": "/"}, 11, "root namespace"),
    (session(namespace_hash=HEX), 11, "namespace_hash"),
    (secrets({"kind": "public-key", "private_key": "k"}), 11, "public-key"),
    (service(fspf_update_policy="no_rollback_protection"), 11, "fspf_update_policy"),
    (security(must_be_sgx_local=True), 11, "must_be_sgx_local"),
    (session(images=[{"name": "i", "provide_secrets": []}]), 11, "provide_secrets"),
    (session(volumes=[{"name": "v", "files": "encrypted"}]), 11, "files"),
    (session(salt="ab" * 16), 12, "salt"),
    (session(access_policy={"list_sessions": ["ANY"]}), 12, "list_sessions"),
]


@pytest.mark.parametrize(("data", "minor", "words"), FEATURES, ids=[words for _, _, words in FEATURES])
def test_a_feature_needs_its_version(data: dict[str, Any], minor: int, words: str) -> None:
    """One version below, the refusal names the feature and both versions; from its own version on it is taken."""
    for taken in ("0.3", f"0.3.{minor}"):
        parse({**data, "version": taken})
    with pytest.raises(PolicyError) as caught:
        parse({**data, "version": f"0.3.{minor - 1}"})
    assert f"needs version 0.3.{minor}, but this session states 0.3.{minor - 1}" in str(caught.value)
    assert words in str(caught.value)


SUFFIXES = [(":hex", 5), (":base64", 6), (":base32nopad", 10), ("|escape(json)", 10)]


@pytest.mark.parametrize(("suffix", "minor"), SUFFIXES)
def test_a_suffix_needs_its_version(suffix: str, minor: int) -> None:
    """A format that a CAS of the stated version does not know is refused before it reaches one."""
    data = {
        "name": "a",
        "services": [{"name": "a", "mrenclaves": [HEX], "environment": {"A": f"$$SCONE::b{suffix}$$"}}],
        "secrets": [{"name": "b", "kind": "binary"}],
    }
    parse({**data, "version": f"0.3.{minor}"})
    with pytest.raises(PolicyError, match=f"needs version 0.3.{minor}"):
        parse({**data, "version": f"0.3.{minor - 1}"})


EQUAL = [
    (secrets({"kind": "private-key", "key_type": "P-256", "migrate": False}), secrets({"kind": "private-key"})),
    (secrets({**CERT, "dns": "a.b"}), secrets({**CERT, "dns": ["a.b"]})),
    (secrets({**CERT, "dns": ["b", "a"]}), secrets({**CERT, "common_name": "b", "dns": ["a", "b"]})),
    (
        secrets({"kind": "ascii", "export": {"session": "../x"}}),
        secrets({"kind": "ascii", "export": {"session": "team/x"}}),
    ),
    (
        secrets({"kind": "ascii", "export": {"namespace": ".."}}),
        secrets({"kind": "ascii", "export": {"namespace": "team"}}),
    ),
    (
        secrets({"import": {"session": f"cas:8081/cas_key={KEY_HASH},session=a", "secret": "b"}}),
        secrets({"import": {"session": "a", "secret": "b", "cas_url": "cas:8081", "cas_key": KEY_HASH}}),
    ),
    (
        secrets({"import": {"session": f"/session=a,session_hash={HEX}", "secret": "b"}}),
        secrets({"import": {"session": "a", "secret": "b", "session_hash": HEX}}),
    ),
    (
        session(volumes=[{"name": "v", "export": {"session": "a"}, "files": "encrypted"}]),
        session(volumes=[{"name": "v", "export": ["a"], "update_policy": "rollback_protected"}]),
    ),
    (update({"require-all": ["CREATOR", KEY_HASH]}), update({"require-all": [KEY_HASH, "CREATOR", "CREATOR"]})),
    (session(access_policy={"read": "NONE"}), session(access_policy={"read": ["NONE"]})),
    (security(must_be_sgx_local=False), session()),
    (session(secret_config={"store_in": "cas"}), session()),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_meaning_equal_canonical_form(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Two spellings of one meaning cannot show as a difference."""
    assert parse(left).canonical() == parse(right).canonical()


def test_old_signers_become_pem() -> None:
    """The Base58 spelling of an Ed25519 signer and its PEM are one key."""
    found: Any = parse(update({"signer": OLD_SIGNER})).canonical()["access_policy"]
    (entry,) = found["update"].values()
    assert entry["signer"].startswith("-----BEGIN PUBLIC KEY-----")
    assert parse(update(entry)).canonical()["access_policy"] == found


def test_tags_of_the_language_are_read_where_it_knows_them() -> None:
    """`!akv` and `!cas` are read under secret_config.store_in, written again, and refused anywhere else."""
    token = f"secrets: [{{name: t, kind: aad-token, tenant_id: {UUID}, client_id: {UUID}, application_secret: x}}]\n"
    text = f"name: a\nversion: '0.3'\n{token}secret_config:\n  store_in: !akv {{token: t, vault: v}}\n"
    found = parse(text)
    assert found.canonical()["secret_config"] == {"store_in": {"akv": {"token": "t", "vault": "v"}}}
    assert parse(found.wire()).canonical() == found.canonical()
    assert "secret_config" not in parse("name: a\nversion: '0.3'\nsecret_config: {store_in: !cas }\n").canonical()
    with pytest.raises(PolicyError, match="are not supported"):
        parse("name: !akv a\nversion: '0.3'\n")


def test_all_sorts_of_secrets_are_known_as_such() -> None:
    """Everything that a person must not see is on the list by which state and transcripts hide it."""
    data = session(
        services=[{"name": "a", "one_time_password_shared_secret": "A" * 26, "attestation": {"mrenclave": HEX}}],
        volumes=[{"name": "v", "fspf_key": HEX, "fspf_tag": "ab" * 16}],
        secrets=[
            {"name": "f", "kind": "config-fragment", "value": {"a": [1]}},
            {"name": "k", "kind": "private-key", "value": PRIVATE_KEYS[0]},
            {"name": "t", **AAD, "application_secret": "x"},
        ],
        security={"service_access_token": "x", "attestation": {"one_time_password_shared_secret": "A" * 26}},
    )
    found = {".".join(path) for path in secret_paths(parse(data).canonical())}
    assert found == {
        "services.a.one_time_password_shared_secret",
        "volumes.v.fspf_key",
        "secrets.f.value_json",
        "secrets.k.value",
        "secrets.t.application_secret",
        "security.service_access_token",
        "security.attestation.one_time_password_shared_secret",
    }


@pytest.mark.parametrize("value", [None, "", "null", 0, [], {}, {"a": [1, "1", None]}, '"'])
def test_any_value_of_a_fragment_survives(value: object) -> None:
    """Null, empty and quoted values come back from the canonical form and from the wire as they were."""
    canonical = parse(secrets({"kind": "config-fragment", "value": value})).canonical()
    assert parse(canonical).canonical() == canonical
    assert parse(parse(canonical).wire()).canonical() == canonical


def test_relative_names() -> None:
    """`./x` lies below the session itself, `../x` beside it, and nothing lies above the root."""
    assert absolute("../x", "a/b") == "a/x"
    assert absolute("./x", "a/b") == "a/b/x"
    assert absolute("..", "a") == "/"
    with pytest.raises(ValueError, match="above the root"):
        absolute("../..", "a")


def test_durations() -> None:
    """Lengths of time in the spellings of the reference."""
    assert [seconds(text) for text in ("24h", "59d", "90 days", "1 year")] == [86_400, 5_097_600, 7_776_000, 31_557_600]


def test_namespace_hash_is_for_the_first_version() -> None:
    """Beside a predecessor the expected hash of the namespace is not written: no CAS takes both."""
    found = parse(session(namespace_hash=HEX))
    assert f"namespace_hash: {HEX}" in found.wire()
    assert "namespace_hash" not in found.wire(predecessor=HEX)
