"""Identities: made, read from every place in its order, and never shown."""

import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from scone_policy.keys.key_hash import certificate_key_hash
from scone_provider.cas.identity import Identity, load_identity
from scone_provider.errors import SconeError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = (Identity.create(common_name=name, now=NOW) for name in ("one", "two", "three"))


def test_created_identity_comes_back() -> None:
    """PEM out, PEM in: the same identity, whose key hash is that of its certificate."""
    again = Identity.parse(ONE.to_pem())
    assert again == ONE
    assert ONE.key_hash == certificate_key_hash(x509.load_pem_x509_certificate(ONE.certificate_pem.encode()))


def test_repr_hides_the_key() -> None:
    """Neither key nor certificate is in what a log would show."""
    assert "PRIVATE" not in repr(ONE)
    assert "CERTIFICATE" not in repr(ONE)


@pytest.mark.parametrize(
    "identity",
    [
        ONE.to_pem(),
        {"key": ONE.private_key_pem, "cert": ONE.certificate_pem},
        {"pem": ONE.certificate_pem + ONE.private_key_pem},
    ],
)
def test_config_json_is_read(identity: object) -> None:
    """The CLI's config holds key and certificate in PEM, in one text or in two."""
    assert Identity.parse(json.dumps({"identity": identity, "cas": {}})) == ONE


def test_order_of_places(tmp_path) -> None:
    """The environment wins over the file, the file over stack config; nothing is made silently."""
    home = tmp_path / "home"
    assert load_identity({}, home, None) is None
    assert load_identity({}, home, THREE.to_pem()) == THREE
    (home / ".cas").mkdir(parents=True)
    (home / ".cas" / "config.json").write_text(json.dumps({"identity": TWO.to_pem()}))
    assert load_identity({}, home, THREE.to_pem()) == TWO
    assert load_identity({"SCONE_IDENTITY": ONE.to_pem()}, home, THREE.to_pem()) == ONE
    path = tmp_path / "one.pem"
    path.write_text(ONE.to_pem())
    assert load_identity({"SCONE_IDENTITY": str(path)}, home, None) == ONE
    assert load_identity({"SCONE_CLI_CONFIG": str(path)}, home, None) == ONE


def test_config_without_identity_is_passed_over(tmp_path) -> None:
    """The CLI's config may know attested CASes only."""
    (tmp_path / ".cas").mkdir()
    (tmp_path / ".cas" / "config.json").write_text('{"cas": {}}')
    assert load_identity({}, tmp_path, TWO.to_pem()) == TWO


def encrypted() -> str:
    """A key under a password."""
    key = load_pem_private_key(ONE.private_key_pem.encode(), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return pem.decode() + ONE.certificate_pem


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "holds no identity"),
        (ONE.certificate_pem, "holds no identity"),
        (ONE.private_key_pem, "holds no identity"),
        (ONE.private_key_pem + TWO.certificate_pem, "another key"),
        (ONE.to_pem() + TWO.private_key_pem, "holds no identity"),
        (encrypted(), "encrypted"),
        (ONE.private_key_pem.replace("M", "A", 3) + ONE.certificate_pem, "cannot be read"),
        ('{"identity": ', "holds no identity"),
        ("{" * 5000, "holds no identity"),
    ],
)
def test_bad_identities(text: str, part: str) -> None:
    """Each is refused in words that hold nothing of the key, with what to do."""
    with pytest.raises(SconeError, match=part) as refusal:
        Identity.parse(text, where="here")
    assert "identity create" in str(refusal.value)
    assert ONE.private_key_pem.split("\n")[1] not in str(refusal.value)


@pytest.mark.parametrize("name", ["SCONE_IDENTITY", "SCONE_CLI_CONFIG"])
def test_given_file_must_exist(tmp_path, name: str) -> None:
    """A path that was given is not passed over in silence."""
    with pytest.raises(SconeError, match="cannot be read"):
        load_identity({name: str(tmp_path / "no")}, tmp_path, ONE.to_pem())
