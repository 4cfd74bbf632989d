"""How a policy looks in state: markers in the place of keys, wrapped secrets, digests that cannot be guessed."""

import datetime as dt
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import scone_policy
from scone_provider.cas.identity import Identity
from scone_provider.policy.state import (
    fspf_key,
    has_explicit_secret,
    marked_images,
    secret_digest,
    with_markers,
    with_secrets,
    written_by,
)

IMAGE_KEY, OTHER_KEY = bytes(range(32)), bytes(32)
MARKER = "derived: team/api"
OURS = fspf_key(IMAGE_KEY, "team/api")
FOREIGN = "5e" * 32


def policy(key: str | None, **secret: Any) -> dict[str, Any]:
    """A canonical policy of one service with this file-system key."""
    service = {"command": "a", "fspf_tag": "ab" * 16} | ({"fspf_key": key} if key else {})
    return {"name": "acme/api", "services": {"api": service}, "secrets": {"s": {"kind": "ascii", **secret}}}


def shown(key: str, *, expected: object = None, image_key: bytes | None = IMAGE_KEY) -> str:
    """What stands for `key` in the state of a stack whose program has the marker."""
    expected = policy(MARKER) if expected is None else expected
    found: Any = with_markers(policy(key), expected=expected, image_key=image_key)
    return str(found["services"]["api"]["fspf_key"])


def test_own_key_is_the_marker_again() -> None:
    """What CAS returns for our marker shows as that marker, so that nothing differs; upper case makes no difference."""
    assert shown(OURS) == MARKER
    assert shown(OURS.upper()) == MARKER


def test_foreign_key_shows_as_foreign_but_never_itself() -> None:
    """A key that someone put there is a difference, told apart from other ones, and not a digit of it is shown."""
    first, second = shown(FOREIGN), shown("6f" * 32)
    assert first != second
    assert first.startswith("not derived from this stack's image key (")
    assert FOREIGN[:8] not in first
    assert shown(OURS, expected=policy("derived: team/other")).startswith("not derived")
    assert shown(OURS, image_key=OTHER_KEY).startswith("not derived")
    assert shown(OURS, expected={}).startswith("not derived")


def test_without_image_key_nothing_is_claimed() -> None:
    """Who has no image key cannot tell: the marker stays, and a key where none was expected is said to be foreign."""
    assert shown(FOREIGN, image_key=None) == MARKER
    assert shown(FOREIGN, expected=policy(None), image_key=None) == "not derived from this stack's image key"


def test_what_is_no_key_stays() -> None:
    """Markers and placeholders are texts that may be seen."""
    for text in (MARKER, "$$SCONE::key:hex$$"):
        assert shown(text) == text


def test_the_policy_given_is_not_changed() -> None:
    """A copy is marked: the caller still has the keys for the wire."""
    given_policy = policy(OURS)
    with_markers(given_policy, expected=policy(MARKER), image_key=IMAGE_KEY)
    assert given_policy == policy(OURS)


@given(st.binary(min_size=32, max_size=32), st.sampled_from([None, IMAGE_KEY, OTHER_KEY]))
def test_no_key_ever_gets_through(key: bytes, image_key: bytes | None) -> None:
    """Whatever stands at CAS, no file-system key reaches the state."""
    assert not re.search("[0-9a-f]{16}", shown(key.hex(), image_key=image_key))


def test_images_of_markers() -> None:
    """The marker names the image whose key is computed for the wire; keys and placeholders name none."""
    assert marked_images(policy(MARKER)) == {"api": "team/api"}
    assert marked_images(policy(OURS)) == marked_images(policy(None)) == {}


def test_explicit_values_are_wrapped_and_only_those() -> None:
    """The engine encrypts what is wrapped: a value that was given; what CAS generates has none."""
    wrapped: Any = with_secrets(policy(MARKER, value="planted"))
    mark = "4dabf18193072939515e22adb298388d"
    assert wrapped["secrets"]["s"]["value"] == {mark: "1b47061264138c4ac30d75fd1eb44270", "value": "planted"}
    assert with_secrets(policy(MARKER)) == policy(MARKER)
    assert with_secrets("not a map") == "not a map"
    assert has_explicit_secret(policy(None, value="planted"))
    assert not has_explicit_secret(policy(None))


def test_secret_digest_is_keyed() -> None:
    """The same value under another image key has another digest: a guess cannot be confirmed without the key."""
    assert secret_digest(IMAGE_KEY, "1234") == secret_digest(IMAGE_KEY, "1234")
    assert len({secret_digest(key, text) for key in (IMAGE_KEY, OTHER_KEY) for text in ("1234", "1235")}) == 4


def test_written_by_its_creator_only() -> None:
    """A session is ours when its creator's certificate has our key; without a creator, when we may update it."""
    ours, other = (
        Identity.create(common_name=name, now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) for name in ("ours", "other")
    )
    certificate = re.findall("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", ours.to_pem(), re.DOTALL)[0]
    session = scone_policy.parse({"name": "a", "version": "0.3", "creator": certificate})
    assert written_by(session, ours.key_hash)
    assert not written_by(session, other.key_hash)
    open_to_us = {"name": "a", "version": "0.3", "access_policy": {"update": {ours.key_hash: True}}}
    assert written_by(scone_policy.parse(open_to_us), ours.key_hash)
    assert not written_by(scone_policy.parse(open_to_us), other.key_hash)
    assert not written_by(scone_policy.parse({"name": "a", "version": "0.3"}), ours.key_hash)
