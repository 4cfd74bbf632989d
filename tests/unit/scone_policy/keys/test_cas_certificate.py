"""A TLS certificate stands for its own key, or for the identity that vouches for it: by vectors, then by mutation."""

import base64
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.identity.cas_identity import CasIdentity
from scone_policy.keys.cas_certificate import cas_key_hash, cas_public_key, evidence_key, is_vouched_for
from scone_policy.keys.key_hash import certificate_key_hash

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "enclave.json").read_text())["tls_certificates"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = CasIdentity.of_key(ec.derive_private_key(7, ec.SECP256R1()), now=NOW)
TLS = IDENTITY.vouched_tls(now=NOW)
DER = TLS.certificates[0].public_bytes(Encoding.DER)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_vectors(vector) -> None:
    """Each certificate stands for the key that the vectors say, or is refused; the launcher is held to the same."""
    certificate = x509.load_der_x509_certificate(base64.b64decode(vector["certificate"]))
    at = datetime.fromtimestamp(vector["at"], UTC)
    if vector["key_hash"] is None:
        with pytest.raises(ValueError, match=r"^(names|is) "):
            cas_key_hash(certificate, now=at)
    else:
        assert cas_key_hash(certificate, now=at) == vector["key_hash"]


def test_what_a_cas_presents() -> None:
    """A CAS's own TLS certificate leads to its identity; the identity's certificate stands for itself."""
    leaf, identity = TLS.certificates
    assert is_vouched_for(leaf)
    assert not is_vouched_for(identity)
    assert cas_key_hash(leaf, now=NOW) == cas_key_hash(identity, now=NOW) == IDENTITY.key_hash
    assert certificate_key_hash(leaf) != IDENTITY.key_hash


def test_chain_verifies(tmp_path) -> None:
    """The certificates that a port presents are a chain for OpenSSL, too."""
    leaf, identity = tmp_path / "leaf.pem", tmp_path / "identity.pem"
    for path, certificate in zip((leaf, identity), TLS.certificates, strict=True):
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
    at = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-attime", at, "-purpose", "sslserver", "-CAfile", identity, leaf]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_evidence_names_the_tls_key() -> None:
    """Evidence of a vouched-for key is believed for that very key alone; without an identity apart nothing is asked."""
    leaf, identity = TLS.certificates
    named = certificate_key_hash(leaf)
    assert evidence_key(leaf, named, now=NOW) == IDENTITY.key.public_key()
    assert evidence_key(identity, None, now=NOW) == IDENTITY.key.public_key()
    for claim in (None, "", IDENTITY.key_hash, 1):
        with pytest.raises(ValueError, match="another TLS key"):
            evidence_key(leaf, claim, now=NOW)


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(min_value=0, max_value=len(DER) * 8 - 1))
def test_no_changed_bit_leads_to_the_identity(bit: int) -> None:
    """Whatever bit of the certificate is changed: it does not load, is refused, or stands for another key."""
    changed = bytearray(DER)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = cas_public_key(x509.load_der_x509_certificate(bytes(changed)), now=NOW)
    except (ValueError, x509.InvalidVersion):
        return
    assert found != IDENTITY.key.public_key()
