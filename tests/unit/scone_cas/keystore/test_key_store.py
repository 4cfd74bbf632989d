"""Keys and values in a PKCS#11 token (SoftHSM 2), as sessions use them: signed with, delivered, never given away."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scone_cas.errors import KeyStoreError, Refusal
from scone_cas.keys.signing_keys import SigningKey
from scone_cas.keystore.key_store import KeyStore
from scone_cas.keystore.settings import KeyStoreSettings, read_pin, read_settings
from scone_cas.secrets.public_form import public_part
from scone_cas.secrets.value import to_stored
from scone_policy.errors import SconeError
from support.secret_session import received, secret_session
from support.soft_token import SoftToken

KEYS = {"p256": "EC:prime256v1", "p384": "EC:secp384r1", "rsa": "rsa:2048", "ed": "EC:edwards25519"}
PLANTED = ec.derive_private_key(0xBEEF, ec.SECP384R1())


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    """A token with one key of each type, and whatever else the tests ask for; the library of this process knows it."""
    found = SoftToken.create(tmp_path_factory.mktemp("unit") / "token")
    for label, key_type in KEYS.items():
        found.make_key(label, key_type)
    found.make_key("loose", "EC:prime256v1", "--extractable")
    found.make_aes("seal", "--sensitive")
    found.put_key("planted", PLANTED)
    found.put_data("text", b"from the token")
    found.put_data("bytes", b"\0\1\2\xff")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


Settings = Callable[..., KeyStoreSettings]


@pytest.fixture
def settings(token: SoftToken) -> Settings:
    """Settings with these secrets, written as `kind: object`."""

    def make(secrets: dict[str, str] | None = None, **more: Any) -> KeyStoreSettings:
        held = {
            name: {"object": text.split(" ")[1], "kind": text.split(" ")[0], "deliver": text.endswith(" deliver")}
            for name, text in (secrets or {}).items()
        }
        return read_settings(token.configure({"secrets": held, **more}))

    return make


@pytest.fixture
def open_store(settings: Settings) -> Callable[..., KeyStore]:
    """A key store with these settings."""

    def make(*arguments: Any, **more: Any) -> KeyStore:
        found = settings(*arguments, **more)
        return KeyStore(found, read_pin(found.pkcs11))

    return make


def signer(store: KeyStore, label: str) -> SigningKey:
    """The key of that label, mapped to a secret of its name."""
    found = store.value("app", label).signer
    assert found is not None
    return found


@pytest.fixture
def store(open_store: Callable[..., KeyStore]) -> KeyStore:
    """A key store whose keys are secrets of the session app."""
    return open_store({f"app/{label}": f"private-key {label}" for label in [*KEYS, "planted"]}, sealing_key="seal")


def test_ec_signatures(store: KeyStore) -> None:
    """ECDSA by the token verifies with the public half, on both curves and with each digest."""
    for label in ("p256", "p384", "planted"):
        key = signer(store, label)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        for digest in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            key.public_key().verify(key.sign(b"data", ec.ECDSA(digest)), b"data", ec.ECDSA(digest))
    assert signer(store, "planted").public_key() == PLANTED.public_key()


def test_rsa_signatures(store: KeyStore) -> None:
    """PKCS #1 v1.5 and PSS verify; what the token's key does not do is refused and not done otherwise."""
    key = signer(store, "rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    for pad in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 32)):
        key.public_key().verify(key.sign(b"data", pad, hashes.SHA256()), b"data", pad, hashes.SHA256())
    with pytest.raises(UnsupportedAlgorithm):
        key.sign(b"data", padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - that it is refused


def test_ed25519_signatures(store: KeyStore) -> None:
    """Ed25519 verifies."""
    key = signer(store, "ed")
    assert isinstance(key, Ed25519PrivateKey)
    key.public_key().verify(key.sign(b"data"), b"data")


@pytest.mark.parametrize("label", KEYS)
def test_no_way_to_the_bytes(store: KeyStore, label: str) -> None:
    """No method gives a key's bytes away; the value that stands for it holds none and is not stored."""
    key: Any = signer(store, label)
    for ask in (
        lambda: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.private_numbers,
        key.private_bytes_raw,
        lambda: to_stored(store.value("app", label)),
    ):
        with pytest.raises(ValueError, match=r"never leaves it|is not stored"):
            ask()
    assert store.value("app", label).content == b""
    with pytest.raises(Refusal, match="cannot be public"):
        public_part(store.value("app", label))


def test_wrapping(store: KeyStore) -> None:
    """What the sealing key wraps it opens; a changed bit anywhere it does not."""
    wrapped = store.wrap(bytes(range(32)))
    assert store.unwrap(wrapped) == bytes(range(32))
    assert bytes(range(32)) not in wrapped
    assert store.wrap(bytes(range(32))) != wrapped
    for place in range(0, len(wrapped), 7):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        with pytest.raises(KeyStoreError, match="does not open the key of this state"):
            store.unwrap(bytes(changed))
    with pytest.raises(KeyStoreError):
        store.unwrap(wrapped[:10])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("private-key none", "the token has no private key with this label"),
        ("private-key seal", "the token has no private key with this label"),
        ("private-key loose", "could be taken out of its token"),
        ("private-key p256 deliver", "the key cannot leave its token"),
        ("ascii none", "the token has no data object with this label"),
        ("ascii p256", "the token has no data object with this label"),
        ("ascii bytes", "other bytes than printable ASCII"),
    ],
)
def test_checked_at_the_start(open_store: Callable[..., KeyStore], kind: str, said: str) -> None:
    """An object that is not what the settings say is named with the secret it stands for."""
    with pytest.raises(KeyStoreError, match=said) as caught:
        open_store({"app/x": kind}).check()
    assert caught.value.where.startswith("secrets.app/x: object")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"sealing_key": "p256"}, "no secret key with this label"),
        ({"identity": "p384"}, "must be an EC key on P-256"),
        ({"identity": "rsa"}, "must be an EC key on P-256"),
        ({"identity": "loose"}, "could be taken out of its token"),
        ({"identity": "seal"}, "no private key with this label"),
    ],
)
def test_own_keys_are_checked(open_store: Callable[..., KeyStore], own: dict[str, str], said: str) -> None:
    """The CAS's own keys must be of their kind and confined to the token."""
    with pytest.raises(KeyStoreError, match=said):
        open_store(**own).check()


def test_two_of_a_label(token: SoftToken, open_store: Callable[..., KeyStore]) -> None:
    """Two objects of one label are ambiguous: none is taken."""
    token.put_data("twice", b"one")
    token.put_data("twice", b"two")
    with pytest.raises(KeyStoreError, match="has 2 of them"):
        open_store({"app/x": "ascii twice"}).check()


def test_another_key_in_its_place(token: SoftToken, open_store: Callable[..., KeyStore]) -> None:
    """A key that was replaced in the token signs nothing in the name of the old one."""
    token.make_key("changing", "EC:prime256v1")
    store = open_store({"app/x": "private-key changing"})
    key = store.value("app", "x").signer
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    token.remove("changing", "privkey", "pubkey")
    token.make_key("changing", "EC:prime256v1")
    with pytest.raises(KeyStoreError, match="another key than at the start"):
        key.sign(b"data", ec.ECDSA(hashes.SHA256()))


def test_wrong_pin_is_tried_once(token: SoftToken, settings: Settings) -> None:
    """After a wrong PIN no second try is made: a token locks itself."""
    store = KeyStore(settings({"app/x": "ascii text"}), "wrong")
    with pytest.raises(KeyStoreError, match="refuses the PIN"):
        store.check()
    token.unplug()
    try:
        with pytest.raises(KeyStoreError, match="refuses the PIN"):
            store.check()
    finally:
        token.plug()


def test_unplugged_and_back(token: SoftToken, open_store: Callable[..., KeyStore]) -> None:
    """While the token is away its use fails in words; afterwards it works, without a new start."""
    store = open_store({"app/x": "ascii text"})
    assert store.value("app", "x").content == b"from the token"
    token.unplug()
    try:
        with pytest.raises(KeyStoreError):
            store.value("app", "x")
    finally:
        token.plug()
    assert store.value("app", "x").content == b"from the token"


def test_library_is_named(settings: Settings) -> None:
    """A module that is none is named as the thing to correct."""
    found = settings()
    other = found.pkcs11.model_copy(update={"module": Path("/usr/lib/x86_64-linux-gnu/libz.so.1")})
    with pytest.raises(KeyStoreError, match="no PKCS#11 module"):
        KeyStore(found.model_copy(update={"pkcs11": other, "sealing_key": "seal"}), "1").check()


def test_delivered_values(new_cas, person, settings: Settings) -> None:
    """Text and bytes are delivered as the token has them, whatever size the session says."""
    cas = new_cas(key_store=settings({"app/a": "ascii text", "app/b": "binary bytes"}))
    cas.upload(secret_session({"a": {"kind": "ascii"}, "b": {"kind": "binary"}}, ["a", "b", "b:hex"]), person("ann"))
    assert received(cas) == {"a": b"from the token", "b": b"\0\1\2\xff", "b:hex": b"000102ff"}
    assert cas.store.values(cas.store.current("app")) == {}


CHAIN: dict[str, dict[str, Any]] = {
    "root-key": {"kind": "private-key", "key_type": "P-384"},
    "root": {"kind": "x509-ca", "private_key": "root-key", "common_name": "root"},
    "sub-key": {"kind": "private-key"},
    "sub": {"kind": "x509-ca", "private_key": "sub-key", "issuer": "root", "common_name": "sub"},
    "key": {"kind": "private-key"},
    "leaf": {"kind": "x509", "private_key": "key", "issuer": "sub", "dns": ["db.example"], "endpoint": "server"},
    "public": {"kind": "public-key", "private_key": "root-key"},
    "jwt": {
        "kind": "jwt",
        "signer": "root-key",
        "alg": "ES384",
        "validity": {"for": "1 hour"},
        "payload": {"sub": "x"},
    },
}


@pytest.fixture
def chain_cas(new_cas, person, settings: Settings):
    """A CAS whose session app has CA keys in the token: P-384 and RSA."""
    cas = new_cas(key_store=settings({"app/root-key": "private-key planted", "app/sub-key": "private-key rsa"}))
    cas.upload(secret_session(CHAIN, ["root", "leaf", "leaf:chain", "public", "jwt"]), person("ann"))
    return cas


def test_chain(chain_cas, tmp_path: Path) -> None:
    """A chain of CAs whose keys are in the token verifies with OpenSSL; the root's key is the planted one."""
    found = received(chain_cas)
    root, chain, leaf = tmp_path / "root.pem", tmp_path / "chain.pem", tmp_path / "leaf.pem"
    root.write_bytes(found["root"])
    chain.write_bytes(found["leaf:chain"])
    leaf.write_bytes(found["leaf"])
    at = str(int(chain_cas.now.timestamp()))
    command = ["openssl", "verify", "-attime", at, "-x509_strict", "-purpose", "sslserver", "-CAfile", str(root)]
    done = subprocess.run([*command, "-untrusted", str(chain), str(leaf)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert x509.load_pem_x509_certificate(found["root"]).public_key() == PLANTED.public_key()
    assert b"BEGIN PUBLIC KEY" in found["public"]


def test_jwt(chain_cas) -> None:
    """A token of a jwt secret is signed by the key in the token: its signature verifies with the planted key."""
    from base64 import urlsafe_b64decode

    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    message, _, signature = received(chain_cas)["jwt"].rpartition(b".")
    raw = urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
    r, s = int.from_bytes(raw[:48]), int.from_bytes(raw[48:])
    PLANTED.public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))


@pytest.mark.parametrize("form", ["root-key", "root-key:der", "root:privatekey", "root:pkcs12-with-private-key"])
def test_keys_are_not_delivered(new_cas, person, settings: Settings, form: str) -> None:
    """A service that asks for a confined key, or for a certificate with it, is told why it gets nothing."""
    cas = new_cas(key_store=settings({"app/root-key": "private-key planted"}))
    wanted = {name: CHAIN[name] for name in ("root-key", "root")}
    cas.upload(secret_session(wanted, [form]), person("ann"))
    status, error = cas.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "key store, which signs with it and delivers it to nobody" in error["message"]


def test_key_that_may_leave(token: SoftToken, new_cas, person, settings: Settings) -> None:
    """With `deliver`, and extractable in the token, a key comes out as PKCS #8 and is the token's."""
    token.make_key("free", "EC:prime256v1", "--extractable")
    cas = new_cas(key_store=settings({"app/k": "private-key free deliver"}))
    session = {"k": {"kind": "private-key"}, "p": {"kind": "public-key", "private_key": "k"}}
    cas.upload(secret_session(session, ["k", "p"]), person("ann"))
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    found = received(cas)
    assert load_pem_private_key(found["k"], password=None).public_key() == load_pem_public_key(found["p"])


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"kind": "ascii", "value": "mine"}, "takes neither value nor import"),
        ({"kind": "binary"}, "as ascii, not binary"),
    ],
)
def test_sessions_that_say_otherwise(new_cas, person, settings: Settings, secret: dict[str, str], said: str) -> None:
    """A session whose secret is not as the key store's is refused at upload."""
    cas = new_cas(key_store=settings({"app/a": "ascii text"}))
    with pytest.raises(Refusal, match=said):
        cas.upload(secret_session({"a": secret}), person("ann"))


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"kind": "private-key", "key_type": "P-256"}, "key_type is P-256, and the key .* is P-384"),
        ({"kind": "private-key", "export_public": True}, "cannot be public"),
    ],
)
def test_keys_that_say_otherwise(new_cas, person, settings: Settings, secret: dict[str, Any], said: str) -> None:
    """A key of another type, or one that everybody could sign with, is refused at upload."""
    cas = new_cas(key_store=settings({"app/a": "private-key planted"}))
    with pytest.raises(Refusal, match=said):
        cas.upload(secret_session({"a": secret}), person("ann"))


def test_importers_sign_and_get_no_key(new_cas, person, settings: Settings) -> None:
    """A session that imports a CA whose key is in the token gets certificates signed by it, and never the key."""
    cas = new_cas(key_store=settings({"app/root-key": "private-key planted"}))
    exported = {**CHAIN["root"], "export": {"session": "user"}}
    cas.upload(secret_session({"root-key": CHAIN["root-key"], "root": exported}), person("ann"))
    importing = {
        "root": {"kind": "x509-ca", "import": {"session": "app", "secret": "root"}},
        "key": {"kind": "private-key"},
        "leaf": {"kind": "x509", "private_key": "key", "issuer": "root", "common_name": "leaf"},
    }
    done = cas.upload(secret_session(importing, ["leaf", "root"], name="user"), person("ann"))
    found = received(cas, "user")
    leaf, root = (x509.load_pem_x509_certificate(found[name]) for name in ("leaf", "root"))
    leaf.verify_directly_issued_by(root)
    asking = secret_session(importing, ["root:privatekey"], name="user", predecessor=done.hash)
    cas.upload(asking, person("ann"))
    assert cas.attest("user/main")[1]["code"] == "secret_unavailable"


def test_mapping_taken_away(new_cas, person, settings: Settings, tmp_path: Path) -> None:
    """A secret that the key store held and holds no more is refused in words; an update makes a value of its own."""
    cas = new_cas(key_store=settings({"app/a": "ascii text"}))
    done = cas.upload(secret_session({"a": {"kind": "ascii"}}, ["a"]), person("ann"))
    cas.close()
    cas = type(cas)(tmp_path / "state")
    try:
        status, error = cas.attest("app/main")
        assert status == 403
        assert "does not hold it any more" in error["message"]
        cas.upload(secret_session({"a": {"kind": "ascii"}}, ["a"], predecessor=done.hash), person("ann"))
        assert len(received(cas)["a"]) == 20
    finally:
        cas.close()


def test_package_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, new_cas) -> None:
    """Without the library the error says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(SconeError, match=r"pip install 'pulumi-scone\[hsm\]'"):
        new_cas(key_store=settings())
    assert not (tmp_path / "state" / "cas.db").exists()
