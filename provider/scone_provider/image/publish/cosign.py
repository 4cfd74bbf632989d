"""Signs an image's digest with a key, in the format and at the place where cosign looks: `sha256-<digest>.sig`.

It says who built an image; whether a service may have secrets is decided by measurement and tag alone. No kept library
writes this format: it is one JSON document, one ECDSA signature and one small OCI manifest.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from scone_provider.errors import ImageError
from scone_provider.file_errors import file_reason
from scone_provider.image.oci.canonical_json import canonical_json, parse_object
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import MANIFEST_LIMIT, OCI_MANIFEST
from scone_provider.image.registry.repository import Repository

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_KEY_LIMIT = 64 << 10
_MOST_SIGNATURES = 1000


def stack_key(image_key: bytes) -> ec.EllipticCurvePrivateKey:
    """The signing key of a stack that names none: derived from its image key, so that nobody has to keep another."""
    material = HKDF(algorithm=SHA256(), length=48, salt=None, info=b"pulumi-scone signature v1").derive(image_key)
    return ec.derive_private_key(int.from_bytes(material, "big") % (_ORDER_P256 - 1) + 1, ec.SECP256R1())


def read_key(path: Path, *, where: str) -> ec.EllipticCurvePrivateKey:
    """The private key in a file. Raises ImageError, which never shows what the file holds."""
    return parse_key(read_key_file(path, where=where), where=where)


def read_key_file(path: Path, *, where: str) -> bytes:
    """What stands in a key file, whatever its format. Raises ImageError."""
    try:
        with path.open("rb") as file:
            return file.read(_KEY_LIMIT)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"the key file {path.name!r} cannot be read: {file_reason(error)}",
            where=where,
            fix="`key` is relative to the manifest; without it the stack's own key signs",
        ) from None


def parse_key(text: bytes, *, where: str) -> ec.EllipticCurvePrivateKey:
    """A private key in PEM, not encrypted, on the curve P-256: what cosign makes and verifies. Raises ImageError."""
    fix = "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ImageError("this is no private key in PEM without a password", where=where, fix=fix) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ImageError("the key is not on the curve P-256", where=where, fix=fix)
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half, for `cosign verify --key`."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def payload(reference: str) -> bytes:
    """What is signed for the image `host/repository@sha256:…`: cosign's document."""
    parsed = parse_reference(reference)
    assert parsed.digest is not None
    return canonical_json(
        {
            "critical": {
                "identity": {"docker-reference": parsed.name},
                "image": {"docker-manifest-digest": parsed.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )


def sign(reference: str, key: ec.EllipticCurvePrivateKey) -> str:
    """The signature in base64: the same image and key give the same one (RFC 6979)."""
    algorithm = ec.ECDSA(SHA256(), deterministic_signing=True)
    return base64.b64encode(key.sign(payload(reference), algorithm)).decode()


def signature_tag(digest: str) -> str:
    """Where the signatures of an image stand, beside it."""
    return f"{digest.replace(':', '-')}.sig"


def push_signature(reference: str, key: ec.EllipticCurvePrivateKey, *, registry: Registry) -> bool:
    """Puts the signature beside the image; signatures of others stay. False when it stood there. Raises ImageError."""
    parsed = parse_reference(reference)
    assert parsed.digest is not None
    target, tag = registry.target(parsed), signature_tag(parsed.digest)
    content, text = payload(reference), sign(reference, key)
    others = _signatures(target, tag)
    if any((layer.get("annotations") or {}).get(ANNOTATION) == text for layer in others):
        return False
    blob = bytes_blob(content, media_type=PAYLOAD_TYPE)
    layers = [*others, {**blob.descriptor(), "annotations": {ANNOTATION: text}}]
    config = bytes_blob(companion_configuration(layers), media_type=_CONFIG_TYPE)
    for part in (blob, config):
        if not target.has_blob(part.digest):
            target.upload(part)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": layers}
    target.put_manifest(tag, canonical_json(manifest), media_type=OCI_MANIFEST)
    return True


def delete_signature(reference: str, *, registry: Registry) -> None:
    """Removes the signatures of an image that is removed."""
    parsed = parse_reference(reference)
    target = registry.target(parsed)
    found = target.manifest(signature_tag(parsed.digest)) if parsed.digest else None
    if found is not None:
        target.delete_manifest(found.digest)


def _signatures(target: Repository, tag: str) -> list[Mapping[str, Any]]:
    found = target.manifest(tag)
    if found is None:
        return []
    layers: Any = parse_object(found.data, what="the image's signatures", limit=MANIFEST_LIMIT).get("layers")
    if not isinstance(layers, list) or len(layers) >= _MOST_SIGNATURES or not all(isinstance(o, dict) for o in layers):
        raise ImageError("what stands at the place of the image's signatures is none", where=f"{target.name}:{tag}")
    return layers


def companion_configuration(layers: Sequence[Mapping[str, Any]]) -> bytes:
    """The configuration of what stands beside an image: the form of cosign's, which registries take."""
    never = "0001-01-01T00:00:00Z"
    return canonical_json(
        {
            "architecture": "",
            "os": "",
            "created": never,
            "config": {},
            "history": [{"created": never} for _ in layers],
            "rootfs": {"type": "layers", "diff_ids": [layer.get("digest") for layer in layers]},
        }
    )
