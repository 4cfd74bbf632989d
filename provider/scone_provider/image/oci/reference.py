"""Image references as Docker reads them: `python:3.11-slim`, `host:5000/team/app:1`, `…@sha256:…`."""

import ipaddress
import re
from dataclasses import dataclass, replace

from scone_provider.errors import ImageError

DOCKER_HUB = "docker.io"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")


def is_digest(text: object) -> bool:
    """True for `sha256:` and 64 lower-case hex digits, the only digest that is accepted here."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One image in one registry. `tag` and `digest` are None where the text has none."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Host and repository."""
        return f"{self.host}/{self.repository}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> "Reference":
        """The same repository, by digest alone."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text


def parse_reference(text: str) -> Reference:
    """`text` by Docker's rules: the part before the first `/` is a host when it has a dot, a colon, or is `localhost`.

    Raises ImageError; the text of a reference is no secret and is shown.
    """
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise ImageError(f"{text!r}: the digest is not sha256: and 64 hex digits")
    host, slash, path = rest.partition("/")
    if not slash or not (set(host) & set(".:") or host == "localhost"):
        host, path = DOCKER_HUB, rest
    repository, colon, tag = path.partition(":")
    if host in {"index.docker.io", "registry-1.docker.io"}:
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _HOST.fullmatch(host):
        raise ImageError(f"{text!r}: {host!r} is not a registry's host name and port")
    if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
        raise ImageError(
            f"{text!r}: {repository!r} is not a repository name",
            fix="use lower-case letters, digits and single separators (. _ -), parts divided by /",
        )
    if colon and not _TAG.fullmatch(tag):
        raise ImageError(f"{text!r}: {tag!r} is not a tag")
    return Reference(host=host, repository=repository, tag=tag or None, digest=digest or None)


def is_loopback(host: str) -> bool:
    """True when `host` (name or address, with or without port) can only be this machine: plain HTTP is safe there."""
    name = re.sub(r":[0-9]+\Z", "", host).strip("[]") if not host.endswith("]") else host.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
