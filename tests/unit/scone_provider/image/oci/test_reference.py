"""References are read as Docker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.oci.reference import is_loopback, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", None, None),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", None),
        ("team/app:1", "docker.io", "team/app", "1", None),
        ("docker.io/python", "docker.io", "library/python", None, None),
        ("index.docker.io/team/app", "docker.io", "team/app", None, None),
        ("localhost/app", "localhost", "app", None, None),
        ("localhost:5000/app:1", "localhost:5000", "app", "1", None),
        ("ghcr.io/a/b_c/d--e:v1.2", "ghcr.io", "a/b_c/d--e", "v1.2", None),
        (f"a.b/c@{DIGEST}", "a.b", "c", None, DIGEST),
        (f"a.b:1/c:t@{DIGEST}", "a.b:1", "c", "t", DIGEST),
        ("[::1]:5000/a", "[::1]:5000", "a", None, None),
    ],
)
def test_references_mean_what_docker_means(
    text: str, host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    """Hosts, the default registry and its `library/`, tags and digests."""
    found = parse_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == (host, repository, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A/b",
        "a b",
        "a//b",
        "../a",
        "a:",
        "a@",
        "a@sha256:12",
        "a@md5:" + "a" * 32,
        "http://a/b",
        "a.b/",
        "a:t:u",
        "a/" * 200 + "a",
        "a:-x",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """A typing error ends in words, never in a request to some other place."""
    with pytest.raises(ImageError):
        parse_reference(text)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    """What is accepted names itself: its own text parses to the same reference."""
    try:
        found = parse_reference(text)
    except ImageError:
        return
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("registry.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.8.8", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com:80", False),
        ("notlocalhost", False),
        ("10.0.0.1:5000", False),
        ("docker.io", False),
    ],
)
def test_plain_http_is_for_this_machine_alone(host: str, loopback: bool) -> None:  # noqa: FBT001  a parameter of the test
    """No name that looks like this machine, but is not, is talked to without TLS."""
    assert is_loopback(host) is loopback
