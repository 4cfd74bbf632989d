"""What is said of values that an update ends: in words, for kinds that CAS makes when asked, and for unknowns."""

from typing import Any

import pytest

import scone_policy
from scone_policy.diff.regeneration import Renewal, changes_values, renewals
from scone_policy.syntax.holes import Holes

KEY: dict[str, Any] = {"kind": "private-key", "key_type": "P-384"}
KEPT = {**KEY, "migrate": True}
JWT = {"kind": "jwt", "signer": "$$SCONE::key$$", "alg": "ES384", "validity": {"for": "1 hour"}}
TOKEN = {
    "kind": "aad-token",
    "tenant_id": "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    "client_id": "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    "private_key": "$$SCONE::rsa$$",
    "certificate_thumbprint": "ab" * 20,
}
CA = {"kind": "x509-ca", "private_key": "key"}
IMPORT = {"kind": "x509-ca", "import": {"session": "other", "secret": "ca"}}


def canonical(secrets: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A session with these secrets."""
    return scone_policy.parse({"name": "app", "version": "0.3.12", "secrets": secrets, **sections}).canonical()


def said(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Name → what becomes of it."""
    return {one.name: str(one.effect) for one in renewals(canonical(old), canonical(new))}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"key": KEY, "jwt": JWT}, {"key": KEY, "jwt": JWT}, {"key": "anew", "jwt": "anew"}),
        ({"key": KEPT, "jwt": JWT}, {"key": KEPT, "jwt": JWT}, {}),
        (
            {"rsa": {"kind": "private-key", "key_type": "RSA-2048"}, "token": TOKEN},
            {"rsa": {"kind": "private-key", "key_type": "RSA-2048"}, "token": TOKEN},
            {"rsa": "anew", "token": "anew"},
        ),
        (
            {"key": KEPT, "ca": CA, "two": KEPT, "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"}},
            {"key": KEPT, "ca": CA, "two": KEPT, "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"}},
            {"ca": "reissued", "cert": "reissued"},
        ),
        (
            {"key": KEPT, "ca": CA, "two": KEPT, "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"}},
            {
                "key": KEPT,
                "ca": {**CA, "common_name": "Another"},
                "two": KEPT,
                "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"},
            },
            {"ca": "anew", "cert": "anew"},
        ),
        (
            {"ca": IMPORT, "two": KEPT, "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"}},
            {
                "ca": {**IMPORT, "import": {"session": "third", "secret": "ca"}},
                "two": KEPT,
                "cert": {"kind": "x509", "private_key": "two", "issuer": "ca"},
            },
            {"cert": "anew"},
        ),
        ({"key": KEPT}, {"key": {**KEPT, "export_public": True}}, {}),
        ({"a": {"kind": "ascii", "value": "x"}}, {"a": {"kind": "ascii", "value": "y"}}, {}),
        ({"a": {"kind": "ascii", "value": "x"}}, {}, {}),
        ({}, {"key": KEY, "a": {"kind": "ascii"}}, {}),
        ({"half": {"kind": "public-key", "private_key": "key"}, "key": KEPT}, {"key": KEPT}, {}),
    ],
)
def test_effects(old: dict[str, Any], new: dict[str, Any], expected: dict[str, str]) -> None:
    """Tokens follow their key, certificates key, issuer and description; nothing given, imported or new is named."""
    assert said(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "is_other"),
    [
        ({"a": {"kind": "ascii"}}, {"a": {"kind": "ascii"}}, False),
        ({"a": {"kind": "ascii", "value": "x"}}, {"a": {"kind": "ascii", "value": "y"}}, True),
        ({"ca": IMPORT}, {"ca": {**IMPORT, "import": {"session": "third", "secret": "ca"}}}, True),
        ({"a": {"kind": "ascii", "value": "x"}}, {}, True),
        ({}, {"a": {"kind": "ascii"}}, False),
        ({"key": KEPT, "ca": CA}, {"key": KEPT, "ca": CA}, False),
        ({"key": KEY, "ca": CA}, {"key": KEY, "ca": CA}, True),
    ],
)
def test_values_that_a_service_may_still_hold(old: dict[str, Any], new: dict[str, Any], *, is_other: bool) -> None:
    """Given and imported values count as well, a certificate that is only issued once more does not."""
    assert changes_values(canonical(old), canonical(new)) is is_other


def volume(**keys: Any) -> dict[str, Any]:
    """A session with one volume."""
    return canonical({}, volumes={"db": keys})


GIVEN = {"fspf_key": "0d" * 32, "fspf_tag": "a" * 32}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (volume(), canonical({}), "forget the tag of the volume db, and the key if it made that, because it is taken"),
        (volume(), volume(**{"import": {"session": "other", "volume": "db"}}), "because it is imported from now on"),
        (volume(), volume(**GIVEN), "because another key or tag is given"),
        (volume(**GIVEN), volume(), "make a key for the volume db, because the key that was given is taken out"),
        (volume(**GIVEN), volume(**{**GIVEN, "fspf_tag": "b" * 32}), "because another key or tag is given"),
    ],
)
def test_volumes(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    """Files that cannot be read any more are said, by the volume's name."""
    ((found),) = renewals(old, new)
    assert words in str(found)
    assert found.is_loss
    assert changes_values(old, new)


def test_volumes_that_stay() -> None:
    """Other rules for the same key and tag cost nothing."""
    assert renewals(volume(), volume(update_policy="ephemeral", export=["other"])) == []


def test_what_is_not_known_yet_is_no_loss_of_its_own() -> None:
    """An unknown measurement costs no secret; an unknown size may be another one."""
    hole = Holes().punch("unknown")
    secrets = {"a": {"kind": "ascii", "size": 8}}
    service = {"main": {"command": "a", "attestation": {"mrenclave": hole}}}
    assert renewals(canonical(secrets), canonical(secrets, services=service)) == []
    ((found),) = renewals(canonical(secrets), canonical({"a": {"kind": "ascii", "size": hole}}))
    assert "its size changes (8 → …)" in str(found)


def test_no_value_is_told() -> None:
    """Neither the old nor the new value stands in what is said."""
    old, new = {"kind": "ascii", "value": "planted-old"}, {"kind": "binary", "value": "ab" * 16}
    found = renewals(canonical({"a": old, "b": {"kind": "ascii"}}), canonical({"a": {"kind": "ascii"}, "b": new}))
    assert {one.name for one in found} == {"a", "b"}
    assert "planted" not in repr(found)
    assert "abab" not in repr(found)


def test_forgotten_exports() -> None:
    """Who imported what is gone does not start any more: that is said."""
    secret = {"kind": "ascii", "export": {"session": "app/api"}, "export_public": True}
    ((found),) = renewals(canonical({"a": secret}), canonical({}))
    assert isinstance(found, Renewal)
    assert "services of app/api, everyone that import it do not start any more" in str(found)
