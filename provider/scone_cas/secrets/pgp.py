"""OpenPGP key pairs of secrets: made by Sequoia, for signing and for encryption, in the three forms (section 3)."""

import pysequoia

from scone_cas.secrets.value import Value


def generate(user_id: str) -> Value:
    """A fresh key pair without an end: Ed25519 and Curve25519, version 4, which every OpenPGP program reads."""
    key = pysequoia.Tsk.generate(user_id=user_id, profile=pysequoia.Profile.RFC4880, validity_seconds=None)
    public = key.extract_certificate()
    return Value(kind="pgp-key", content=bytes(key), more={"public_key": bytes(public)})


def armour(value: Value, *, half: str) -> bytes:
    """ASCII armour (RFC 9580, section 6) of the `privatekey` or the `publickey`."""
    if half == "privatekey":
        return str(pysequoia.armor(value.content, pysequoia.ArmorKind.SecretKey)).encode()
    return str(pysequoia.armor(value.more["public_key"], pysequoia.ArmorKind.PublicKey)).encode()
