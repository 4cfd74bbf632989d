"""Settings of a stack operation: the environment before the stack config, wrong forms refused without their values."""

import base64
import datetime as dt
from pathlib import Path

import pytest

from scone_provider.cas.identity import Identity
from scone_provider.errors import SconeError
from scone_provider.stack.settings import Settings

KEY, OTHER = bytes(range(32)), bytes(32)
MIRRORS = "PULUMI_SCONE_REGISTRY_MIRRORS"


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def load(config: dict[str, object], environ: dict[str, str] | None = None) -> Settings:
    return Settings.load(config.get, environ or {})


def test_nothing_given_is_nothing() -> None:
    """Without config and environment there are no keys and no addresses, and that alone is no error."""
    found = load({})
    assert (found.identity_text, found.image_key) == (None, None)
    assert (found.connect_to, found.mirrors, found.insecure_registries) == ({}, {}, frozenset())


def test_environment_wins() -> None:
    """The state keeps an old copy of the config: after a rotation the environment must be what counts."""
    config: dict[str, object] = {"scone:imageKey": encoded(OTHER), "scone:registryMirrors": "a=old"}
    environ = {"SCONE_IMAGE_KEY": encoded(KEY), MIRRORS: "a=new"}
    found = load(config, environ)
    assert found.image_key == KEY
    assert found.mirrors == {"a": "new"}
    assert load(config).image_key == OTHER


@pytest.mark.parametrize("text", [encoded(KEY[:31]), encoded(KEY) + "!", "planted-secret", encoded(KEY + KEY)])
def test_image_key_of_the_wrong_form_is_refused_unseen(text: str) -> None:
    """Anything but 32 bytes in base64 is an error that names the setting and shows nothing of the value."""
    with pytest.raises(SconeError, match=r"^scone:imageKey: ") as caught:
        load({"scone:imageKey": text})
    assert text not in str(caught.value)


def test_missing_keys_say_what_to_run() -> None:
    """Who needs a key that is not there is told how to make one."""
    for need in (load({}).require_image_key, lambda: load({}).identity()):
        with pytest.raises(SconeError, match="pulumi-scone identity create"):
            need()


def test_identity_is_the_stacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stack's identity is used where the machine has none of its own."""
    for name in ("SCONE_IDENTITY", "SCONE_CLI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    identity = Identity.create(common_name="test", now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert load({"scone:identity": identity.to_pem()}).identity().key_hash == identity.key_hash


def test_nothing_secret_in_the_repr() -> None:
    """A Settings that ends up in a log shows neither identity nor image key."""
    shown = repr(load({"scone:imageKey": encoded(KEY), "scone:identity": "planted"}))
    assert "planted" not in shown
    assert str(KEY) not in shown


@pytest.mark.parametrize(
    "value",
    [
        "cas.default=127.0.0.1:8081, other=10.0.0.1",
        '{"cas.default": "127.0.0.1:8081", "other": "10.0.0.1"}',
        {"cas.default": "127.0.0.1:8081", "other": "10.0.0.1"},
    ],
    ids=["pairs", "json", "structured"],
)
def test_pairs_come_in_three_forms(value: object) -> None:
    """`a=b,c=d`, a JSON object, and structured config are the same addresses."""
    assert load({"scone:connectTo": value}).connect_to == {"cas.default": "127.0.0.1:8081", "other": "10.0.0.1"}


@pytest.mark.parametrize(
    "value", ["cas.default", "a=", "=b", "{", '{"a": 1}', '{"a": {"b": "c"}}', '["a"]', '{"a": ""}']
)
@pytest.mark.parametrize("key", ["scone:connectTo", "scone:registryMirrors", "scone:insecureRegistries"])
def test_anything_else_is_refused(key: str, value: str) -> None:
    """What is not pairs of texts is an error that names the setting and how to write it."""
    with pytest.raises(SconeError, match=f"^{key}: ") as caught:
        load({key: value})
    assert f"pulumi config set {key}" in str(caught.value)


def test_insecure_registries_are_named_one_by_one() -> None:
    """Plain HTTP is for exactly the named registries; `=false` is refused rather than taken for a name."""
    for value in ("registry.lan:5000=true", '{"registry.lan:5000": true}'):
        assert load({"scone:insecureRegistries": value}).insecure_registries == {"registry.lan:5000"}
    with pytest.raises(SconeError, match="only true"):
        load({"scone:insecureRegistries": "registry.lan:5000=false"})
