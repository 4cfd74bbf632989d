"""Registries as they are: each quirk by itself, then the flows of those that people use, as their documents tell them.

The server is `support.quirky_registry`, behind TLS and under names of its own; the whole client is real.
"""

import base64
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection

from scone_provider.errors import ImageError
from scone_provider.image.oci.layers import bytes_blob
from scone_provider.image.oci.reference import Reference
from scone_provider.image.publish.ownership import Kind, claim, release
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.manifests import OCI_MANIFEST
from scone_provider.image.registry.repository import Deletion
from support.quirky_client import AUTH, BASIC, BEARER, BLOB, HOST, MANIFEST, REALM, Authority, Play
from support.quirky_registry import IDENTITY, PASSWORD, SECRETS, STORAGE, USER, Quirks, QuirkyRegistry

IDENTITY_AUTH = {"auth": base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode(), "identitytoken": IDENTITY}


CHALLENGES: dict[str, Quirks] = {
    "nothing is asked": Quirks(),
    "Basic": Quirks(challenges=(BASIC,)),
    "Bearer": Quirks(challenges=(BEARER,)),
    "Bearer without a scope": Quirks(challenges=(f'Bearer realm="{REALM}",service="x"',)),
    "Bearer alone counts, offered first": Quirks(challenges=(BEARER, BASIC), accepts=("bearer",)),
    "Bearer alone counts, offered last": Quirks(challenges=(BASIC, BEARER), accepts=("bearer",)),
    "both in one header, Bearer first": Quirks(challenges=(f"{BEARER}, {BASIC}",), accepts=("bearer",)),
    "both in one header, Basic first": Quirks(challenges=(f"{BASIC}, {BEARER}",), accepts=("bearer",)),
    "Basic alone counts, both offered": Quirks(challenges=(f"{BEARER}, {BASIC}",), accepts=("basic",)),
    "a scheme nobody knows comes first": Quirks(challenges=(f"Negotiate, {BASIC}",)),
    "names in capitals": Quirks(challenges=(BEARER.replace("Bearer realm", "BEARER Realm"),)),
    "unquoted parameters": Quirks(challenges=(f"Bearer realm={REALM},service=x",)),
    "access_token": Quirks(challenges=(BEARER,), token_field="access_token"),
    "tokens by POST alone": Quirks(challenges=(BEARER,), grants=("POST",)),
    "tokens that expire between two requests": Quirks(challenges=(BEARER,), expired_after=2),
    "tokens of a second": Quirks(challenges=(BEARER,), lifetime=1),
    "nothing is said of the lifetime": Quirks(challenges=(BEARER,), lifetime=None),
    "401 for what does not exist": Quirks(challenges=(BEARER,), hidden=401),
    "403 for what does not exist": Quirks(challenges=(BEARER,), hidden=403),
    "404 without a challenge for whoever is not known": Quirks(challenges=(BASIC,), silent=True),
}


@pytest.mark.parametrize("case", CHALLENGES)
def test_challenges(play: Play, case: str) -> None:
    """Whatever is asked for in whatever form: one push to a repository that does not exist yet, by one login."""
    client = play(CHALLENGES[case])
    client.push()
    asked = [fields["scope"] for method, fields in client.server.token_requests if "scope" in fields]
    assert all("," not in scope or "push" in scope for scopes in asked for scope in scopes)


TRANSFERS: dict[str, Quirks] = {
    "Location with the default port": Quirks(location="https://{host}:443{path}?_state=a%2Fb"),
    "Location in capitals": Quirks(location="HTTPS://REGISTRY.EXAMPLE.TEST{path}"),
    "Location without a host": Quirks(location="{path}"),
    "Location relative, without a slash": Quirks(location="{name}?_state=x"),
    "Location relative, with dots": Quirks(location="../uploads/{name}"),
    "Location below a prefix": Quirks(location="/behind/a/proxy{path}"),
    "Location without TLS, from behind a proxy": Quirks(location="http://{host}{path}"),
    "the upload is sent on, 307": Quirks(upload_redirect=307),
    "the upload is sent on, 308": Quirks(upload_redirect=308),
    "413 above 1 MB": Quirks(limit=1 << 20),
    "cut off above 1 MB": Quirks(limit=1 << 20, cuts=True),
    "413, and pieces of no less than 1 MiB": Quirks(limit=3 << 19, least_piece=1 << 20),
    "pieces are taken by halves": Quirks(limit=1 << 20, halves=True),
    "429 with seconds": Quirks(busy=("0", "1")),
    "429 with a date": Quirks(busy=("Wed, 21 Oct 2015 07:28:00 GMT", "soon")),
    "no digest header": Quirks(digest_header=False),
    "no HEAD for manifests": Quirks(head=405),
    "manifests as application/json": Quirks(media_type="application/json"),
    "mounts are refused": Quirks(mount=400),
    "success is 200": Quirks(success=200),
    "success is 202": Quirks(success=202),
    "downloads elsewhere": Quirks(storage=True),
}


@pytest.mark.parametrize("case", TRANSFERS)
def test_transfers(play: Play, case: str, tmp_path: Path) -> None:
    """Push and pull through each quirk, with user and password that the registry's own API alone sees."""
    client = play(replace(TRANSFERS[case], challenges=(BASIC,)))
    client.push()
    client.pull(tmp_path / "pulled")
    assert client.secrets_shown_to() == {HOST}
    ended = [seen for seen in client.server.seen if seen.method == "PUT" and "digest=" in seen.path]
    assert all(seen.authorization for seen in ended)


def test_a_limit_that_no_piece_fits_is_explained(play: Play) -> None:
    """Below the smallest piece there is no way: the error says how big the request was, and whose setting that is."""
    client = play(Quirks(limit=1000))
    with pytest.raises(ImageError) as caught:
        client.registry.target(client.reference).upload(BLOB)
    assert f"the blob {BLOB.digest} in pieces of 524288 bytes (413)" in str(caught.value)
    assert "client_max_body_size" in str(caught.value)


def test_tags_in_pages(play: Play) -> None:
    """All pages are read."""
    client = play(Quirks(page=3))
    target = client.registry.target(client.reference)
    for number in range(10):
        target.put_manifest(f"t{number}", MANIFEST, media_type=OCI_MANIFEST)
    assert target.tags() == {f"t{number}" for number in range(10)}


@pytest.mark.parametrize(
    ("status", "found"), [(202, Deletion.DELETED), (405, Deletion.UNSUPPORTED), (403, Deletion.DENIED)]
)
def test_deletions(play: Play, status: int, found: Deletion) -> None:
    """Deleted, not offered, or not allowed: three results, no error."""
    client = play(Quirks(deletes=status, challenges=(BEARER,)))
    client.push()
    manifest = client.registry.reader(client.reference).manifest("1")
    assert manifest is not None
    assert client.registry.target(client.reference).delete_manifest(manifest.digest) is found
    assert any("delete" in scope for _, fields in client.server.token_requests for scope in fields["scope"])


@pytest.mark.parametrize("asks", [BASIC, f'Bearer realm="https://{STORAGE}/token"', f'Bearer realm="{REALM}"'])
def test_a_redirect_neither_carries_nor_asks_for_credentials(play: Play, tmp_path: Path, asks: str) -> None:
    """Where a download is sent on to, 401 is an error whatever it asks for: nobody there sees a secret or a token."""
    client = play(Quirks(challenges=(BASIC,), storage=True, storage_asks=asks))
    client.push()
    with pytest.raises(ImageError, match="401"):
        client.pull(tmp_path / "pulled")
    assert client.secrets_shown_to() == {HOST}
    assert not client.server.token_requests


def test_an_upload_sent_elsewhere_carries_no_credentials(play: Play) -> None:
    """Some registries take the bytes at a storage service: it gets the bytes."""
    client = play(Quirks(challenges=(BASIC,), location=f"https://{STORAGE}:443{{path}}"))
    with pytest.raises(ImageError):
        client.registry.target(client.reference).upload(BLOB)
    assert client.secrets_shown_to() == {HOST}


@pytest.mark.parametrize("listed", [False, True])
def test_a_token_service_of_another_domain_has_to_be_listed(play: Play, *, listed: bool) -> None:
    """It gets the password only where the docker configuration names it; else the error says which name to add."""
    asks = 'Bearer realm="https://sso.other.test/token",service="x"'
    login = {"auths": {HOST: AUTH} | ({"sso.other.test": {}} if listed else {})}
    client = play(Quirks(challenges=(asks,)), login)
    if listed:
        client.push()
        assert client.secrets_shown_to() == {HOST, "sso.other.test"}
        return
    with pytest.raises(ImageError, match=r"its token service is sso\.other\.test, of another domain") as caught:
        client.push()
    assert '"auths": {"sso.other.test": {}}' in str(caught.value)
    assert client.secrets_shown_to() == set()


@pytest.mark.parametrize("realm", ["http://registry.example.test/token", "ftp://x/y", "", "https://[bad/token"])
def test_a_realm_that_is_none(play: Play, realm: str) -> None:
    """A token service without TLS, or no address at all, is told; nothing goes there."""
    client = play(Quirks(challenges=(f'Bearer realm="{realm}"',)))
    with pytest.raises(ImageError, match="it names no token service with TLS"):
        client.push()
    assert client.secrets_shown_to() == set()


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("/moved/token", True),
        (f"https://{HOST}/moved/token", True),
        ("https://sso.elsewhere.test/token", False),
        (f"https://{HOST}@sso.elsewhere.test/token", False),
        (f"http://{HOST}/moved/token", False),
    ],
)
@pytest.mark.parametrize("auth", [AUTH, {"identitytoken": IDENTITY}])
def test_a_token_service_that_sends_us_on(play: Play, target: str, auth: dict[str, str], *, reached: bool) -> None:
    """Within its own host, with TLS, a token service may move; no other host is shown a login, by header or form."""
    client = play(Quirks(challenges=(BEARER,), token_redirect=target), {"auths": {HOST: auth}})
    if reached:
        client.push()
    else:
        with pytest.raises(ImageError, match="wants other credentials"):
            client.push()
    assert {seen.host.partition(":")[0] for seen in client.server.seen} == {HOST}


@pytest.mark.parametrize("place", [f"https://x:y@{HOST}{{path}}", f"https://{HOST}@{STORAGE}{{path}}"])
def test_addresses_with_a_user_in_them(play: Play, place: str) -> None:
    """What stands before an @ is no host and no login: our own login goes to the registry alone."""
    client = play(Quirks(challenges=(BASIC,), location=place))
    if STORAGE in place:
        with pytest.raises(ImageError):
            client.push()
    else:
        client.push()
    assert client.secrets_shown_to() == {HOST}
    assert {seen.authorization for seen in client.server.seen if seen.authorization} == {f"Basic {SECRETS[2]}"}


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_registry_that_does_not_list_tags(play: Play, status: int) -> None:
    """Nobody knows who else uses an image there: it stays, and that is said."""
    client = play(Quirks(challenges=(BASIC,)))
    image = f"{HOST}/team/app@{bytes_blob(MANIFEST, media_type='').digest}"
    assert claim(image, "1" * 32, registry=client.registry) is Kind.OWNER
    client.push()
    client.server.quirks = replace(client.server.quirks, lists=status)
    assert "does not list tags" in release(image, "1" * 32, registry=client.registry).stays
    assert client.registry.reader(client.reference).manifest("1") is not None


LOGINS: dict[str, tuple[dict[str, Any], str]] = {
    "the name": ({HOST: AUTH}, BASIC),
    "a URL": ({f"https://{HOST}": AUTH}, BASIC),
    "a URL with the protocol's version": ({f"https://{HOST}/v2/": AUTH}, BASIC),
    "an old URL": ({f"http://{HOST}/v1/": AUTH}, BASIC),
    "the default port": ({f"{HOST}:443": AUTH}, BASIC),
    "a path above": ({f"{HOST}/team": AUTH, HOST: {"auth": "eDp5"}}, BASIC),
    "the repository itself": ({f"{HOST}/team/app": AUTH, f"{HOST}/team": {"auth": "eDp5"}}, BASIC),
    "another path, the only one there is": ({f"{HOST}/other": AUTH}, BASIC),
    "a path of others besides": ({f"{HOST}/other": {"auth": "eDp5"}, HOST: AUTH}, BASIC),
    "user and password apart": ({HOST: {"username": USER, "password": PASSWORD}}, BASIC),
    "an identity token": ({HOST: IDENTITY_AUTH}, BEARER),
    "an identity token alone": ({HOST: {"identitytoken": IDENTITY}}, f"{BASIC}, {BEARER}"),
}


@pytest.mark.parametrize("case", LOGINS)
def test_forms_of_logins(play: Play, case: str) -> None:
    """Every form in which a login stands in config.json is found, the closest one first."""
    auths, challenge = LOGINS[case]
    client = play(Quirks(challenges=(challenge,)), {"auths": auths})
    client.push()
    if "identity" in case:
        methods = {(method, fields["grant_type"][0]) for method, fields in client.server.token_requests}
        assert methods == {("POST", "refresh_token")}


@dataclass(frozen=True, kw_only=True)
class Service:
    """One registry that people use: what its documents say of its challenges, names and logins."""

    quirks: Quirks
    host: str = HOST
    login: dict[str, Any] = field(default_factory=dict)


SERVICES: dict[str, Service] = {
    "Docker Hub": Service(
        host="docker.io",
        login={"https://index.docker.io/v1/": AUTH},
        quirks=Quirks(
            challenges=('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="{scope}"',),
            hidden=401,
            deletes=405,
            page=100,
        ),
    ),
    "Amazon ECR": Service(
        quirks=Quirks(challenges=('Basic realm="https://registry.example.test/",service="ecr.amazonaws.com"',)),
    ),
    "Azure ACR": Service(
        login={HOST: IDENTITY_AUTH},
        quirks=Quirks(
            challenges=(f'Bearer realm="https://{HOST}/oauth2/token",service="{HOST}",scope="{{scope}}"',),
            token_field="access_token",
            lifetime=None,
            location="{path}?_nouploadcache=false&_state=x",
        ),
    ),
    "Google GAR": Service(
        quirks=Quirks(
            challenges=(f'Bearer realm="https://{HOST}/v2/token",service="{HOST}",scope="{{scope}}"',),
            location="{path}",
            deletes=202,
        ),
    ),
    "GitHub GHCR": Service(
        quirks=Quirks(
            challenges=(f'Bearer realm="https://{HOST}/token",service="{HOST}",scope="{{scope}}"',),
            hidden=403,
            deletes=405,
            page=100,
        ),
    ),
    "GitLab": Service(
        quirks=Quirks(
            challenges=(
                'Bearer realm="https://gitlab.example.test/jwt/token",service="container_registry",scope="{scope}"',
            ),
            refuses_more=True,
        ),
    ),
    "Gitea": Service(
        quirks=Quirks(challenges=(f'Bearer realm="https://{HOST}/v2/token",service="container_registry",scope="*"',)),
    ),
    "Harbor": Service(
        quirks=Quirks(
            challenges=(f'Bearer realm="https://{HOST}/service/token",service="harbor-registry",scope="{{scope}}"',),
            hidden=401,
            limit=1 << 20,
        ),
    ),
    "Quay": Service(
        quirks=Quirks(
            challenges=(f'Bearer realm="https://{HOST}/v2/auth/token",service="{HOST}",scope="{{scope}}"',),
            page=50,
            hidden=401,
        ),
    ),
    "JFrog Artifactory": Service(
        quirks=Quirks(
            challenges=(BASIC, f'Bearer realm="https://{HOST}/artifactory/api/docker/x/v2/token",service="{HOST}"'),
            silent=True,
            location="http://{host}{path}",
        ),
    ),
    "Sonatype Nexus": Service(
        quirks=Quirks(challenges=('BASIC realm="Sonatype Nexus Repository Manager"',), digest_header=False),
    ),
}


@pytest.mark.parametrize("name", SERVICES)
def test_services(play: Play, name: str, tmp_path: Path) -> None:
    """The first push of an image, a look for it, its download and its deletion, as each service's documents tell."""
    service = SERVICES[name]
    client = play(service.quirks, {"auths": service.login or {service.host: AUTH}}, host=service.host)
    client.push()
    client.pull(tmp_path / "pulled")
    manifest = client.registry.reader(client.reference).manifest("1")
    assert manifest is not None
    deleted = client.registry.target(client.reference).delete_manifest(manifest.digest)
    assert deleted is (Deletion.DELETED if service.quirks.deletes == 202 else Deletion.UNSUPPORTED)


@pytest.mark.parametrize("host", ["[2001:db8::5]", "[2001:db8::5]:5000", f"{HOST}:5000", f"{HOST}:443"])
def test_addresses(play: Play, host: str) -> None:
    """Registries at ports and at IPv6 addresses, with a token service at the same address."""
    asks = f'Bearer realm="https://{host}/token",service="x",scope="{{scope}}"'
    client = play(Quirks(challenges=(asks,)), host=host)
    client.push()


def test_a_repository_that_has_to_be_made_before(play: Play) -> None:
    """ECR makes none by itself: the error says that the repository is missing, and that it has to be made."""
    client = play(Quirks(challenges=(BASIC,), made_before=True))
    with pytest.raises(ImageError, match="NAME_UNKNOWN") as caught:
        client.push()
    assert "want a repository made before the first push" in str(caught.value)


def test_somebody_who_may_only_read(play: Play, tmp_path: Path) -> None:
    """Looking for an image asks for no more than reading, so that a login without the right to push is enough."""
    client = play(Quirks(challenges=(BEARER,)))
    client.push()
    client.server.quirks = replace(client.server.quirks, may="pull", refuses_more=True)
    reader = replace(client, registry=Registry(client.registry.options))
    assert reader.registry.reader(client.reference).manifest("1") is not None
    reader.pull(tmp_path / "pulled")
    with pytest.raises(ImageError, match="docker login"):
        reader.registry.target(client.reference).put_manifest("2", MANIFEST, media_type=OCI_MANIFEST)


def test_no_error_shows_a_secret(play: Play) -> None:
    """Refused with every form of login: neither password nor token is in the text."""
    for auth in (AUTH, {"username": USER, "password": PASSWORD}, IDENTITY_AUTH):
        client = play(Quirks(challenges=(BEARER, BASIC), grants=(), accepts=()), {"auths": {HOST: auth}})
        with pytest.raises(ImageError) as caught:
            client.push()
        assert not any(secret in f"{caught.value}{caught.value!r}" for secret in SECRETS)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment(
    play: Play, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Each variable alone is enough to trust a company's own authority."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ImageError, match="is not trusted"):
        play(Quirks()).push()
    path = authority.file
    if name == "SSL_CERT_DIR":
        path = tmp_path / "authorities"
        path.mkdir()
        certificate = ssl.PEM_cert_to_DER_cert(authority.file.read_text())
        digest = _subject_hash(certificate)
        (path / f"{digest}.0").write_bytes(authority.file.read_bytes())
    monkeypatch.setenv(name, str(path))
    play(Quirks()).push()


def _subject_hash(der: bytes) -> str:
    """The name under which OpenSSL looks for an authority in a folder."""
    from OpenSSL import crypto

    return f"{crypto.load_certificate(crypto.FILETYPE_ASN1, der).subject_name_hash():08x}"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_that_is_not_there(play: Play, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable that names nothing is told by its name, at once."""
    monkeypatch.setenv(name, "/nowhere/ca.pem")
    with pytest.raises(ImageError, match=rf"\${name}: /nowhere/ca\.pem"):
        play(Quirks()).push()


def test_a_server_without_tls(client: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP at a name that was not said to be insecure: told once, with the setting that allows it."""
    server = QuirkyRegistry(Quirks())
    monkeypatch.setattr(urllib3.util.connection, "create_connection", server.connect)
    try:
        with pytest.raises(ImageError, match=r"registry\.example\.test does not speak TLS") as caught:
            client().reader(Reference(host=HOST, repository="a", tag="1")).manifest("1")
    finally:
        server.stop()
    assert "scone:insecureRegistries" in str(caught.value)


def test_a_registry_that_got_tls_meanwhile(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as insecure, it sends everything on to TLS: credentials follow on the same host, and uploads work."""
    client = play(Quirks(challenges=(BASIC,)))
    plain = QuirkyRegistry(Quirks(upgrade=True))
    secure = client.server

    def connect(address: tuple[str, int], timeout: float = 30.0, **_: object) -> Any:
        return (plain if address[1] == 80 else secure).connect(address, timeout)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect)
    options = replace(client.registry.options, insecure_registries=frozenset({HOST}))
    try:
        replace(client, registry=Registry(options)).push()
    finally:
        plain.stop()
    assert not any(seen.authorization for seen in plain.seen)


def test_a_socks_proxy_is_refused_in_words(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library for it, one attempt and a sentence; a password in the proxy's address is not shown."""
    client = play(Quirks())
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:planted-proxy@proxy.example.test:1080")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ImageError, match=r"a SOCKS proxy \(socks5h://proxy\.example\.test\)") as caught:
        client.push()
    assert "planted" not in str(caught.value)
    assert "requests[socks]" in str(caught.value)
    assert not client.server.seen
