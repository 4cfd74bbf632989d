"""Somebody wants a registry's login: where a registry, or whoever stands in its place, sends us or has us ask.

The rule: a login, and a token that was got by it, is seen by the registry's own API and by the token service that this
API names, of the same owner or listed in the docker configuration; by nobody else, whoever sends us there.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection

from scone_provider.errors import ImageError
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from scone_provider.image.registry.repository import Repository
from support.quirky_client import AUTH, BASIC, BEARER, HOST, MANIFEST, REALM, Client, Play
from support.quirky_registry import IDENTITY, SECRETS, STORAGE, Quirks, QuirkyRegistry

SEEN_AS_ONE = f"https://{STORAGE}\\@{HOST}"
"""Its host is STORAGE for what connects, and HOST for what compares: no address at all."""
PLANTED = (*SECRETS, "Bearer token-")
LOGINS: dict[str, dict[str, str]] = {"password": AUTH, "identity token": {"identitytoken": IDENTITY}}


def shown_to(server: QuirkyRegistry) -> set[str]:
    """Hosts that were shown a login or a token, wherever in a request."""
    return {one.host.partition(":")[0] for one in server.seen if any(one.shows(secret) for secret in PLANTED)}


def attempt(action: Callable[[], object]) -> None:
    """Does it; it may be refused, by an error that shows no secret."""
    said = ""
    try:
        action()
    except ImageError as error:
        said = f"{error}{error!r}"
    assert not any(secret in said for secret in SECRETS)


def pull(client: Client, path: Path) -> None:
    """A download, whatever becomes of it."""
    attempt(lambda: client.pull(path))


MORE = bytes_blob(b"more", media_type="application/octet-stream")
OPERATIONS: dict[str, Callable[[Repository], object]] = {
    "GET manifests": lambda target: target.manifest("1"),
    "HEAD manifests": lambda target: target.has_manifest(MORE.digest),
    "PUT manifests": lambda target: target.put_manifest("1", MANIFEST, media_type=OCI_MANIFEST),
    "DELETE manifests": lambda target: target.delete_manifest(MORE.digest),
    "HEAD blobs": lambda target: target.has_blob(MORE.digest),
    "GET blobs": lambda target: target.download(MORE.digest, size=4, into=io.BytesIO()),
    "POST blobs": lambda target: target.mount(MORE.digest, source="library/base"),
    "PUT blobs": lambda target: target.upload(MORE),
    "GET tags": lambda target: target.tags(),
}
"""What an image needs of a registry, by the request that is sent elsewhere."""


FOREIGN: dict[str, str] = {
    "another host": f"https://{STORAGE}{{path}}",
    "another host, without a scheme": f"//{STORAGE}{{path}}",
    "another host that asks for a token": f"https://{STORAGE}/ask{{path}}",
    "two hosts in one address": f"{SEEN_AS_ONE}{{path}}",
    "two hosts, the other way round": f"https://{HOST}\\@{STORAGE}{{path}}",
    "our host as somebody's name": f"https://{HOST}@{STORAGE}{{path}}",
    "our host as a name with a port": f"https://{HOST}:443@{STORAGE}:443{{path}}",
    "our host with more behind it": f"https://{HOST}.elsewhere.test{{path}}",
    "a tab in it": f"https://{STORAGE}\t@{HOST}:1@{STORAGE}{{path}}",
    "no TLS": f"http://{STORAGE}{{path}}",
    "another port without TLS": f"http://{HOST}:8080{{path}}",
    "another port": f"https://{HOST}:8443{{path}}",
}


@pytest.mark.parametrize("place", FOREIGN)
@pytest.mark.parametrize("realm", [REALM, f"https://{STORAGE}/token"], ids=["our realm", "its realm"])
def test_wherever_any_request_is_sent_on_to(play: Play, place: str, realm: str) -> None:
    """A registry (or a hole in it) sends manifests, blobs, uploads, mounts and lists of tags elsewhere; there 401 asks
    for a token at a realm of its choice, also at ours. Nobody but the registry is shown anything.
    """
    asks = f'Bearer realm="{realm}",service="x",scope="repository:team/app:pull,push"'
    for login in LOGINS.values():
        client = play(Quirks(challenges=(BEARER,), storage_asks=asks), {"auths": {HOST: login}})
        client.push()
        for request, operation in OPERATIONS.items():
            client.server.quirks = replace(client.server.quirks, sends_on=(request, FOREIGN[place]))
            target = client.registry.target(client.reference)
            attempt(lambda operation=operation, target=target: operation(target))  # type: ignore[misc]
        shown = {one.host for one in client.server.seen if any(one.shows(secret) for secret in PLANTED)}
        assert shown == {HOST}


@pytest.mark.parametrize("place", [one for one in FOREIGN.values() if "8443" not in one] + [f"{SEEN_AS_ONE}:443/x"])
def test_uploads_and_pages_that_lead_elsewhere(play: Play, place: str) -> None:
    """`Location` of an upload and `Link` of a list are addresses too: the bytes may go there, the login does not."""
    client = play(Quirks(challenges=(BASIC,), location=place, storage_asks=BASIC, link=place.replace("{path}", "/x")))
    target = client.registry.target(client.reference)
    target.put_manifest("1", MANIFEST, media_type=OCI_MANIFEST)
    attempt(lambda: target.upload(MORE))
    attempt(target.tags)
    assert shown_to(client.server) == {HOST}


@pytest.mark.parametrize("request_", ["GET blobs", "PUT manifests"])
def test_a_stranger_does_not_write_in_our_name(play: Play, tmp_path: Path, request_: str) -> None:
    """Sent elsewhere and from there back: to another path of the registry, of the stranger's choice. It is asked
    without a login, and what it then asks for is not answered: 307 would repeat a PUT with the stranger's path.
    """
    back = f"https://{HOST}/v2/team/another/manifests/1"
    client = play(Quirks(challenges=(BASIC,)))
    client.push()
    client.server.quirks = replace(
        client.server.quirks, sends_on=(request_, f"https://{STORAGE}{{path}}"), storage_back=back
    )
    attempt(lambda: client.registry.target(client.reference).put_manifest("2", MANIFEST, media_type=OCI_MANIFEST))
    pull(client, tmp_path / "pulled")
    written = [one for one in client.server.seen if "/team/another/" in one.path]
    assert written
    assert {one.authorization for one in written} == {None}
    assert "team/another" not in client.server.repositories


REALMS: dict[str, str] = {
    "another owner": "https://sso.other.test/token",
    "two hosts in one address": f"https://sso.other.test\\\\@{HOST}/token",  # in quotes one of them escapes
    "our host as a name": f"https://{HOST}@sso.other.test/token",
    "our host with more behind it": f"https://{HOST}.elsewhere.test/token",
    "an end that looks like ours": "https://xexample.elsewhere.test/token",
    "no TLS": f"http://{HOST}/token",
    "this machine": "https://127.0.0.1/token",
    "this machine, without TLS": "http://localhost/token",
    "no host": "https:///token",
    "a file": "file:///etc/passwd",
    "the listed one, at another port": "https://sso.elsewhere.test:8443/token",
}


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("realm", REALMS)
def test_realms_of_somebody_else(play: Play, realm: str, login: str) -> None:
    """The registry's own challenge names a token service that is not its own: it is shown nothing, by header or by
    form, and the error says what to do. (`sso.elsewhere.test` is listed, at the port of HTTPS.)
    """
    quirks = Quirks(challenges=(f'Bearer realm="{REALMS[realm]}",service="x",scope="{{scope}}"',))
    client = play(quirks, {"auths": {HOST: LOGINS[login], "sso.elsewhere.test": {}}})
    with pytest.raises(ImageError) as caught:
        client.push()
    assert shown_to(client.server) == set()
    assert "wants other credentials" in str(caught.value)
    assert "no token service with TLS" in str(caught.value) or '"auths": {"' in str(caught.value)


@pytest.mark.parametrize("listed", ["sso.elsewhere.test:8443", "https://sso.elsewhere.test:8443/"])
def test_a_listed_realm_at_a_port(play: Play, listed: str) -> None:
    """The name that the error tells to add, port included, is the one that helps."""
    asks = 'Bearer realm="https://sso.elsewhere.test:8443/token",service="x",scope="{scope}"'
    client = play(Quirks(challenges=(asks,)))
    with pytest.raises(ImageError, match=r'"auths": \{"sso\.elsewhere\.test:8443": \{\}\}'):
        client.push()
    client = play(Quirks(challenges=(asks,)), {"auths": {HOST: AUTH, listed: {}}})
    client.push()
    assert shown_to(client.server) == {HOST, "sso.elsewhere.test"}


@pytest.mark.parametrize(
    "target",
    [
        f"https://{STORAGE}/token",
        f"{SEEN_AS_ONE}/moved/token",
        f"https://{HOST}:8443/moved/token",
        f"http://{HOST}/moved/token",
        f"https://{HOST}.elsewhere.test/token",
        "https://sso.example.test/token",
    ],
)
@pytest.mark.parametrize("login", LOGINS)
def test_a_token_service_that_sends_us_on(play: Play, target: str, login: str) -> None:
    """A hole in the token service: it stays at its own host and port, even within the same domain."""
    client = play(Quirks(challenges=(BEARER,), token_redirect=target), {"auths": {HOST: LOGINS[login]}})
    with pytest.raises(ImageError, match=r"wants other credentials|an address that is none"):
        client.push()
    assert {one.host for one in client.server.seen} == {HOST}


def test_a_mirror_has_a_login_of_its_own(play: Play) -> None:
    """What is read through a mirror shows the mirror its own login, and never that of the registry it mirrors."""
    mirror = "mirror.elsewhere.test"
    client = play(Quirks(challenges=(BASIC,)), mirrors={HOST: mirror})
    with pytest.raises(ImageError, match=rf"docker login {mirror}"):
        client.registry.source(client.reference).manifest("1")
    assert {one.host for one in client.server.seen} == {mirror}
    assert shown_to(client.server) == set()


def test_a_registry_without_tls_has_its_token_service_beside_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a registry that was said to be insecure the login goes in clear, but not to another host: not even of the
    same domain, where it would be read on other lines.
    """
    logged_in: Mapping[str, Any] = {"auths": {HOST: AUTH, "sso.example.test": {}}}
    found = play(Quirks(), logged_in, insecure_registries=frozenset({HOST}))
    for realm, reached in (("http://sso.example.test/token", False), (f"http://{HOST}/token", True)):
        plain = QuirkyRegistry(Quirks(challenges=(f'Bearer realm="{realm}",scope="{{scope}}"',)))
        monkeypatch.setattr(urllib3.util.connection, "create_connection", plain.connect)
        try:
            attempt(replace(found, server=plain, registry=Registry(found.registry.options)).push)
        finally:
            plain.stop()
        assert shown_to(plain) == ({HOST} if reached else set())
