"""Addresses of a CAS are read and mapped in one way, by whoever connects to one."""

import pytest

from scone_policy.syntax.cas_address import HostPort


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cas", "cas", 8081),
        ("cas.example:1", "cas.example", 1),
        (" https://cas.example:65535/ ", "cas.example", 65535),
        ("[::1]", "::1", 8081),
        ("https://[2001:db8::1]:443", "2001:db8::1", 443),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    """Host, port and scheme; the written form reads back as the same."""
    found = HostPort.parse(text)
    assert (found.host, found.port) == (host, port)
    assert HostPort.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "cas:", "cas:0", "cas:65536", "http://cas", "cas/x", "::1", "[::1", "-cas", "a b", "cas\n:1", "user@cas"],
)
def test_what_is_no_address(text: str) -> None:
    """Anything else, a scheme without protection, a path or a user included, is refused."""
    with pytest.raises(ValueError, match="must be host, host:port or https"):
        HostPort.parse(text)


def test_what_is_connected_to() -> None:
    """`host:port` wins over `host`; a port stays where the other address gives none; a wrong address is refused."""
    named = HostPort.parse("cas.example:1")
    assert named.mapped({}) == named
    assert named.mapped({"other": "x"}) == named
    assert named.mapped({"cas.example": "10.0.0.1"}) == HostPort(host="10.0.0.1", port=1)
    assert named.mapped({"cas.example": "10.0.0.1", "cas.example:1": "[::1]:2"}) == HostPort(host="::1", port=2)
    assert HostPort.parse("[::1]").mapped({"[::1]": "x"}) == HostPort(host="x", port=8081)
    with pytest.raises(ValueError, match="must be host"):
        named.mapped({"cas.example": "a b"})
