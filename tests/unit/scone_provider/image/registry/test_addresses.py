"""Whose an address is, and which addresses are none."""

import pytest

from scone_provider.errors import ImageError
from scone_provider.image.registry.addresses import joined, origin, parts_of, same_owner


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("docker.elastic.co", "docker-auth.elastic.co", True),
        ("registry.digitalocean.com", "api.digitalocean.com", True),
        ("registry.example.co.uk", "sso.example.co.uk", True),
        ("registry.db.de", "gitlab.db.de", True),
        ("REGISTRY.example.com".lower(), "example.com", True),
        ("one.co.uk", "two.co.uk", False),
        ("me.github.io", "you.github.io", False),
        ("me.github.io", "github.io", False),
        ("example.com", "example.org", False),
        ("example.com", "example.com.thief.org", False),
        ("example.com", "xexample.com", False),
        ("a.us-east-1.elb.amazonaws.com", "b.us-east-1.elb.amazonaws.com", False),
        ("com", "example.com", False),
        ("registry.test", "sso.test", False),
        ("registry.team.svc.cluster.local", "sso.team.svc.cluster.local", True),
        ("registry.team.svc.cluster.local", "sso.other.svc.cluster.local", False),
        ("registry", "sso", False),
        ("registry", "registry", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "0.0.1", False),
        ("2001:db8::5", "2001:db8::6", False),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_same_owner(one: str, other: str, *, same: bool) -> None:
    """One registered domain is one owner, in either order; a suffix under which everybody registers is nobody."""
    assert same_owner(one, other) is same
    assert same_owner(other, one) is same


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example\\@b.example/",
        "https://b.example\\.a.example/",
        "https:\\\\a.example/",
        "https://a.example:99999/",
        "https://[a.example/",
        "https:///a.example/",
        "ftp://a.example/",
        "//a.example/",
        "https://\uff41.example/",
        "https://a.example:٤٤٣/",
        "",
    ],
)
def test_what_is_no_address(url: str) -> None:
    """What two readers read differently, or neither reads, is refused before anybody compares or connects."""
    with pytest.raises(ValueError):  # noqa: PT011  in the words of several libraries
        parts_of(url)


def test_what_is_one() -> None:
    """Case, default ports and a user in front make no other origin."""
    assert origin("HTTPS://A.example/x") == origin("https://user:pw@a.example:443/") == ("https", "a.example", 443)
    assert origin("https://[2001:DB8::5]:5000/") == ("https", "2001:db8::5", 5000)


def test_the_error_names_the_registry() -> None:
    """And nothing of the address, which may have a login in it."""
    with pytest.raises(ImageError) as caught:
        joined("https://user:pw@registry.example.com/v2/", "https://thief.example\\@registry.example.com/")
    assert str(caught.value) == "registry.example.com: the registry sends us to an address that is none"
