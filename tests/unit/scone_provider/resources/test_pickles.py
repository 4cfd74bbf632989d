"""The providers' pickles: what every stack's state refers to."""

import base64
import io
import pickletools

import pytest
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider

from scone_provider.resources.cas import CasProvider
from scone_provider.resources.confidential_image import ConfidentialImageProvider
from scone_provider.resources.released_revision import ReleasedRevisionProvider
from scone_provider.resources.rollout import RolloutProvider
from scone_provider.resources.sealed_policy import SealedPolicyProvider
from scone_provider.resources.security_policy import SecurityPolicyProvider
from scone_provider.resources.vendor_image import VendorImageProvider

FROZEN = {
    CasProvider: "scone_provider.resources.cas CasProvider",
    ConfidentialImageProvider: "scone_provider.resources.confidential_image ConfidentialImageProvider",
    ReleasedRevisionProvider: "scone_provider.resources.released_revision ReleasedRevisionProvider",
    RolloutProvider: "scone_provider.resources.rollout RolloutProvider",
    SealedPolicyProvider: "scone_provider.resources.sealed_policy SealedPolicyProvider",
    SecurityPolicyProvider: "scone_provider.resources.security_policy SecurityPolicyProvider",
    VendorImageProvider: "scone_provider.resources.vendor_image VendorImageProvider",
}


def _reference_only(module: str, name: str) -> bytes:
    """Protocol 4: an instance without attributes of a class that is found by name; nothing else."""
    body = (
        b"\x8c" + bytes([len(module)]) + module.encode() + b"\x94"
        b"\x8c" + bytes([len(name)]) + name.encode() + b"\x94\x93\x94)\x81\x94."
    )
    return b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body


@pytest.mark.parametrize(("provider", "path"), FROZEN.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_pickle_is_a_bare_reference(provider: type[ResourceProvider], path: str) -> None:
    """A provider's pickle is byte for byte a reference to its frozen path: no bytecode, attribute or Python version."""
    pickled = base64.b64decode(serialize_provider(provider()))
    pickletools.dis(pickled, out=io.StringIO())
    assert pickled == _reference_only(*path.split())


@pytest.mark.parametrize("provider", FROZEN, ids=lambda item: item.__name__)
def test_pickle_is_not_a_secret(provider: type[ResourceProvider]) -> None:
    """The reference is stored in clear: nothing in it needs encryption, and state stays readable."""
    assert provider.serialize_as_secret_always is False
