"""Addresses of a CAS: the forms of its url, and how `scone:connectTo` moves it."""

import pytest

from scone_provider.cas.address import CasAddress
from scone_provider.errors import CasError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("cas.default", "https://cas.default:8081"),
        ("cas:9000", "https://cas:9000"),
        ("https://cas", "https://cas:8081"),
        ("https://cas:443/", "https://cas:443"),
        ("10.0.0.1", "https://10.0.0.1:8081"),
        ("[::1]:8082", "https://[::1]:8082"),
    ],
)
def test_forms_of_the_url(url: str, base: str) -> None:
    """A host, a host with port, an https url: 8081 is the default port."""
    found = CasAddress.parse(url, {})
    assert (found.base, found.url) == (base, url)


@pytest.mark.parametrize(
    ("url", "mapping", "target"),
    [
        ("cas.default", {"cas.default": "10.1.1.1"}, ("10.1.1.1", 8081)),
        ("cas.default:99", {"cas.default": "10.1.1.1"}, ("10.1.1.1", 99)),
        ("cas.default", {"cas.default": "10.1.1.1:77"}, ("10.1.1.1", 77)),
        ("cas", {"cas": "a", "cas:8081": "b"}, ("b", 8081)),
        ("cas", {"cas:9": "b"}, ("cas", 8081)),
        ("cas", {"cas": "[::1]:5"}, ("::1", 5)),
    ],
)
def test_connect_to(url: str, mapping: dict[str, str], target: tuple[str, int]) -> None:
    """`host:port` wins over `host`; the port stays unless the target names one."""
    found = CasAddress.parse(url, mapping)
    assert (found.host, found.port) == target


@pytest.mark.parametrize("url", ["", "http://cas", "cas/path", "cas:0", "cas:65536", "cas:x", "a b", "user@cas"])
def test_what_is_no_address(url: str) -> None:
    """Refused with the forms that are."""
    with pytest.raises(CasError, match="host:port"):
        CasAddress.parse(url, {})


def test_bad_target_is_blamed_on_connect_to() -> None:
    """The error names the setting that is wrong."""
    with pytest.raises(CasError, match="scone:connectTo"):
        CasAddress.parse("cas", {"cas": "http://x"})
