"""The configuration of a key store: taken, or refused with file, line and rule; its PIN from private places only."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.keystore.settings import KeyStoreSettings, Pkcs11, read_pin, read_settings
from scone_policy.errors import SconeError

GOOD = """pkcs11:
  module: /usr/lib/pkcs11.so
  token: cas
  pin_file: pin
sealing_key: seal
identity: me
secrets:
  team/app/key: {object: key, kind: private-key}
"""


@pytest.fixture
def read(tmp_path: Path):
    """Reads a text as a configuration file."""

    def reader(text: str) -> KeyStoreSettings:
        path = tmp_path / "cas.yaml"
        path.write_text(text)
        return read_settings(path)

    return reader


def test_whole_file(read, tmp_path: Path) -> None:
    """Everything comes out as written; a PIN's file is looked for beside the configuration."""
    found = read(GOOD)
    assert found.pkcs11 == Pkcs11(module=Path("/usr/lib/pkcs11.so"), token="cas", pin_file=tmp_path / "pin")
    assert (found.sealing_key, found.identity) == ("seal", "me")
    assert found.secrets["team/app/key"].object == "key"
    assert KeyStoreSettings.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sealing_key", "sealing-key", "cas.yaml:5: sealing-key: unknown key"),
        ("  token: cas\n", "", "cas.yaml:1: pkcs11.token: the required key is missing"),
        ("  pin_file: pin\n", "", "cas.yaml:1: pkcs11: give the PIN's place"),
        ("  pin_file: pin\n", "  pin_file: pin\n  pin_env: PIN\n", "cas.yaml:1: pkcs11: give the PIN's place"),
        ("  pin_file: pin\n", "  pin: 1234\n", "cas.yaml:4: pkcs11.pin: unknown key"),
        ("/usr/lib/", "", "cas.yaml:1: pkcs11: module must be an absolute path"),
        ("team/app/key", "key", "cas.yaml:8: secrets.key: a secret is named <session>/<secret>"),
        ("team/app/key", "team/../key", "cas.yaml:8"),
        ("private-key", "x509", "cas.yaml:8: secrets.team/app/key.kind"),
        ("object: key", "object: me", "a key of the CAS itself, which no session may use"),
        ("object: key", "object: seal", "a key of the CAS itself, which no session may use"),
        ("kind: private-key", "kind: ascii, deliver: true", "deliver is for private keys"),
        ("identity: me", "identity: ''", "cas.yaml:6: identity"),
        ("identity: me", "identity: [", "cas.yaml:"),
    ],
)
def test_refused(read, old: str, new: str, said: str) -> None:
    """Each broken rule is named with its place, and no value is printed."""
    assert old in GOOD
    with pytest.raises(SconeError) as caught:
        read(GOOD.replace(old, new, 1))
    assert said in str(caught.value)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a", "pkcs11: 1"])
def test_no_map(read, text: str) -> None:
    """What is no configuration at all is refused in words."""
    with pytest.raises(SconeError, match="must be a map"):
        read(text)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(SconeError, match="cannot be read: No such file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_open_pin_file(tmp_path: Path, mode: int) -> None:
    """A PIN that others may read or change is not used."""
    path = tmp_path / "pin"
    path.write_text("1234")
    path.chmod(mode)
    with pytest.raises(SconeError, match="others may read"):
        read_pin(Pkcs11(module=Path("/m"), token="t", pin_file=path))


@pytest.mark.parametrize(
    ("content", "pin"), [(b"1234\n", "1234"), (b"a b ", "a b "), ("zwölf".encode(), "zwölf"), (b"x" * 255, "x" * 255)]
)
def test_pin_file(tmp_path: Path, content: bytes, pin: str) -> None:
    """The PIN is the one line of its file, as it is."""
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_pin(Pkcs11(module=Path("/m"), token="t", pin_file=path)) == pin


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"x" * 256, b"a\0", b"\xff"])
def test_no_pin(tmp_path: Path, content: bytes) -> None:
    """What is no PIN is refused without being shown."""
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SconeError, match="PIN"):
        read_pin(Pkcs11(module=Path("/m"), token="t", pin_file=path))


def test_pin_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's value is the PIN; one that is not set is named."""
    settings = Pkcs11(module=Path("/m"), token="t", pin_env="THE_PIN")
    with pytest.raises(SconeError, match="THE_PIN: the variable"):
        read_pin(settings)
    monkeypatch.setenv("THE_PIN", "1234")
    assert read_pin(settings) == "1234"


@given(st.text(max_size=200))
def test_any_text_is_judged_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No text makes the reader fail in another way."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(SconeError):
        read_settings(path)
