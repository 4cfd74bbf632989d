"""Addresses that a registry gave us: read in one way only, and whose they are."""

import functools
import ipaddress
from collections.abc import Callable
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3.exceptions
import urllib3.util

from scone_provider.errors import ImageError

PORTS = {"http": 80, "https": 443}


def parts_of(url: str) -> SplitResult:
    r"""Scheme, host and port of an absolute HTTP URL. Raises ValueError for one that is none, or that two readers read
    differently.

    `urlsplit` judges addresses here, and `urllib3` connects to them: in `https://a.example\@b.example/` the first
    finds b.example and the second a.example, and a login for one would be sent to the other.
    """
    judged = urlsplit(url)
    try:
        reached = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        raise ValueError("no address") from None
    host = (reached.host or "").strip("[]")
    if judged.scheme not in PORTS or not judged.hostname:
        raise ValueError("no address of HTTP")
    if (judged.scheme, judged.hostname, judged.port) != (reached.scheme, host, reached.port):
        raise ValueError("an address that can be read in two ways")
    return judged


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of a URL, as RFC 6454 compares them. Raises ValueError as `parts_of`."""
    parts = parts_of(url)
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def joined(base: str, location: str) -> str:
    """A reference that a registry gave in answer to `base`, as a URL. Raises ImageError for one that is none."""
    try:
        url = urljoin(base, location)
        parts_of(url)
    except ValueError:
        raise not_an_address(urlsplit(base).netloc.rpartition("@")[2]) from None
    return url


def not_an_address(host: str) -> ImageError:
    """What is said of a registry that sends us nowhere."""
    return ImageError("the registry sends us to an address that is none", where=host)


def same_owner(one: str, other: str) -> bool:
    """True when two hosts (names without ports, or addresses) are one, or belong to one registered domain.

    Domains are registered below the suffixes of the Public Suffix List, as its library ships them: also below those of
    companies that give names to everybody, such as `github.io`. Below a suffix that is not listed (a network's own
    names) only hosts side by side belong together: in a cluster the services of one namespace, not of all.
    """
    if one == other:
        return True
    if _is_address(one) or _is_address(other):
        return False
    registered = _registered()
    domains = {registered(host) for host in (one, other)}
    if domains != {None}:
        return len(domains) == 1
    labels = [host.split(".") for host in (one, other)]
    common = 0
    for left, right in zip(*(reversed(found) for found in labels), strict=False):
        if left != right:
            break
        common += 1
    return common >= max(2, *(len(found) - 1 for found in labels))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@functools.cache
def _registered() -> Callable[[str], str | None]:
    """Host → the domain that somebody registered; the host itself where it is a suffix; None below no listed suffix."""
    # Here, not above: reading the list takes 50 ms, and few registries need it.
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415

    listed = PublicSuffixList(accept_unknown=False)
    return lambda host: listed.privatesuffix(host) or listed.publicsuffix(host)
