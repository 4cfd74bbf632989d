"""Private keys in a token as the abstract classes of `cryptography`: they sign, and nobody ever has their bytes."""

from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scone_cas.errors import KeyStoreError
from scone_cas.keys.signing_keys import SigningKey, VerifyingKey
from scone_cas.keystore import objects
from scone_cas.keystore.token import Token

if TYPE_CHECKING:
    from pkcs11 import Mechanism

Buffer = bytes | bytearray | memoryview

_HASHES = ("SHA256", "SHA384", "SHA512")


def key_in(token: Token, label: str, public: VerifyingKey) -> SigningKey:
    """The private key of that label, whose public half is `public`: another one in its place is noticed."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return TokenEcKey(token, label, public)
    if isinstance(public, rsa.RSAPublicKey):
        return TokenRsaKey(token, label, public)
    return TokenEd25519Key(token, label, public)


class _Held:
    """What all of them share: no way to the bytes, and a signature that is checked before anybody relies on it."""

    def __init__(self, token: Token, label: str, public: Any) -> None:  # noqa: ANN401 - as its subclasses say
        self._token, self._label, self._public = token, label, public

    def public_key(self) -> Any:  # noqa: ANN401 - as its subclasses say
        """The public half."""
        return self._public

    def private_bytes(self, *_arguments: object, **_options: object) -> NoReturn:
        """Never: raises ValueError."""
        raise ValueError("the key lives in a key store and never leaves it")

    private_bytes_raw = private_numbers = exchange = decrypt = private_bytes

    def _signed(self, data: bytes, mechanism: "Mechanism", parameter: object = None) -> bytes:
        found = self._token.run(
            lambda session: objects.private_key(session, self._label).sign(
                data, mechanism=mechanism, mechanism_param=parameter
            )
        )
        return bytes(found)

    def _checked(self, signature: bytes, *arguments: Any) -> bytes:  # noqa: ANN401 - what the algorithm takes
        try:
            self._public.verify(signature, *arguments)
        except InvalidSignature:
            raise KeyStoreError(
                "the object holds another key than at the start",
                where=f"object '{self._label}'",
                fix="restore the key; or, if it was replaced on purpose, start the CAS again",
            ) from None
        return signature

    def __copy__(self) -> "_Held":
        return self

    def __deepcopy__(self, _memo: object) -> "_Held":
        return self


class TokenEcKey(_Held, ec.EllipticCurvePrivateKey):  # type: ignore[misc]
    """An EC key: ECDSA, its digest made here."""

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve of the public half."""
        curve: ec.EllipticCurve = self._public.curve
        return curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self.curve.key_size

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The signature in DER. Raises KeyStoreError; UnsupportedAlgorithm for a digest made elsewhere."""
        from pkcs11 import Mechanism  # noqa: PLC0415

        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, asymmetric.Prehashed):
            raise UnsupportedAlgorithm("only what is hashed here is signed")
        digest = hashes.Hash(algorithm)
        digest.update(data)
        size = self.key_size // 8
        raw = self._signed(digest.finalize()[:size], Mechanism.ECDSA)
        r, s = int.from_bytes(raw[: len(raw) // 2]), int.from_bytes(raw[len(raw) // 2 :])
        return self._checked(asymmetric.encode_dss_signature(r, s), data, signature_algorithm)


class TokenRsaKey(_Held, rsa.RSAPrivateKey):  # type: ignore[misc]
    """An RSA key: PKCS #1 v1.5, and PSS with a salt as long as the digest; both with SHA-2."""

    @property
    def key_size(self) -> int:
        """Bits."""
        size: int = self._public.key_size
        return size

    def sign(
        self,
        data: Buffer,
        padding: padding.AsymmetricPadding,
        algorithm: asymmetric.Prehashed | asymmetric.NoDigestInfo | hashes.HashAlgorithm,
    ) -> bytes:
        """The signature. Raises KeyStoreError; UnsupportedAlgorithm for others than the above."""
        from pkcs11 import MGF, Mechanism  # noqa: PLC0415

        name = algorithm.name.upper() if isinstance(algorithm, hashes.HashAlgorithm) else ""
        if name not in _HASHES or padding.name not in _PADDINGS:
            raise UnsupportedAlgorithm("PKCS #1 v1.5 or PSS with SHA-256, SHA-384 or SHA-512 is signed")
        assert isinstance(algorithm, hashes.HashAlgorithm)
        if padding.name == _PSS:
            parameter = (Mechanism[name], MGF[name], algorithm.digest_size)
            signature = self._signed(bytes(data), Mechanism[f"{name}_RSA_PKCS_PSS"], parameter)
        else:
            signature = self._signed(bytes(data), Mechanism[f"{name}_RSA_PKCS"])
        return self._checked(signature, data, padding, algorithm)


class TokenEd25519Key(_Held, Ed25519PrivateKey):  # type: ignore[misc]
    """An Ed25519 key."""

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""
        found: Ed25519PublicKey = self._public
        return found

    def sign(self, data: Buffer) -> bytes:
        """The signature. Raises KeyStoreError."""
        from pkcs11 import Mechanism  # noqa: PLC0415

        return self._checked(self._signed(bytes(data), Mechanism.EDDSA), bytes(data))


_PSS = padding.PSS.name
_PADDINGS = frozenset({_PSS, padding.PKCS1v15.name})
