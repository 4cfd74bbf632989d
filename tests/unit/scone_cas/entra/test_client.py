"""aad-token secrets against a real HTTPS server that checks what it is asked."""

import argparse
import asyncio
import base64
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from scone_cas.api.http import Request
from scone_cas.entra import client as entra_client
from scone_cas.entra.client import Entra, TokenError, TokenRequest
from scone_cas.entra.settings import EntraSettings, add_entra_options
from scone_cas.errors import Refusal
from scone_cas.secrets.pending import PendingFetch
from scone_cas.server.connection_warden import ConnectionWarden
from scone_cas.server.enclave_port import App
from scone_policy.errors import SconeError
from support.secret_session import received, secret_session
from support.software_enclave import SoftwareEnclave

TENANT, CLIENT = "e6c9c526-f1aa-4e0d-b207-50bad9a89d21", "3f6a210e-83b4-4217-9eee-4f707d8aeeb3"
SECRET = "dGmbyTBE4JNAN3JJobeD"
TOKEN = {"kind": "aad-token", "tenant_id": TENANT, "client_id": CLIENT}
WITH_SECRET = {"token": {**TOKEN, "application_secret": SECRET}}

Answer = tuple[int, bytes]


class Authority:
    """An authority on loopback: `answer` decides what it says to the form that it was sent; `asked` keeps the forms."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[dict[str, str]] = []
        self.drips = 0
        self.answer: Callable[[dict[str, str]], Answer] = lambda _: self.token("a-token", 3600)
        self.ca_file = _certify(folder)
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {key: values[0] for key, values in parse_qs(body, strict_parsing=True).items()}
                for _ in range(authority.drips):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    time.sleep(0.1)
                authority.asked.append({"path": self.path, "type": self.headers["Content-Type"], **form})
                status, content = authority.answer(form)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", "https://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @staticmethod
    def token(token: object, seconds: object) -> Answer:
        """A good answer."""
        return 200, json.dumps({"token_type": "Bearer", "access_token": token, "expires_in": seconds}).encode()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _certify(folder: Path) -> Path:
    """Key and self-signed certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "authority.pem"
    path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """An authority that gives tokens."""
    found = Authority(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def cas(new_cas, authority):
    """A CAS whose tokens come from that authority."""
    return new_cas(entra=EntraSettings(authority=authority.url, ca_file=authority.ca_file))


def test_application_secret(cas, person, authority) -> None:
    """The service receives the token; the authority was asked in the form of the client credentials flow."""
    cas.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    assert authority.asked == []
    assert received(cas) == {"token": b"a-token"}
    assert authority.asked == [
        {
            "path": f"/{TENANT}/oauth2/v2.0/token",
            "type": "application/x-www-form-urlencoded",
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": "https://vault.azure.net/.default",
        }
    ]


def test_application_secret_may_be_a_secret(cas, person, authority) -> None:
    """The application's secret may be a placeholder, and is not looked at again."""
    secrets = {
        "given": {"kind": "ascii", "value": "$$SCONE::token$$"},
        "token": {**TOKEN, "application_secret": "<$$SCONE::given$$>"},
    }
    cas.upload(secret_session(secrets, ["token"]), person("ann"))
    assert received(cas) == {"token": b"a-token"}
    assert authority.asked[0]["client_secret"] == "<$$SCONE::token$$>"


@pytest.mark.parametrize(
    ("thumbprint", "header"),
    [
        ("B033DB596639F3CA02D6537055E85B8EFE060756", {"alg": "RS256", "x5t": "sDPbWWY588oC1lNwVehbjv4GB1Y"}),
        ("00" * 32, {"alg": "PS256", "x5t#S256": "A" * 43}),
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_certificate(cas, person, authority, thumbprint: str, header: dict, *, by_name: bool) -> None:
    """The assertion names certificate, client and authority, is short-lived, unique, and rightly signed."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secrets = {
        "key": {"kind": "private-key", "value": pem},
        "token": {**TOKEN, "private_key": "$$SCONE::key$$" if by_name else pem, "certificate_thumbprint": thumbprint},
    }
    cas.upload(secret_session(secrets, ["token"]), person("ann"))
    assert received(cas) == {"token": b"a-token"}
    (form,) = authority.asked
    assert "client_secret" not in form
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    signed, _, signature = form["client_assertion"].rpartition(".")
    found, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    begin = int(cas.now.timestamp())
    assert found == {"typ": "JWT", **header}
    assert len(claims.pop("jti")) >= 32
    assert claims == {
        "aud": f"{authority.url}/{TENANT}/oauth2/v2.0/token",
        "iss": CLIENT,
        "sub": CLIENT,
        "iat": begin,
        "nbf": begin,
        "exp": begin + 600,
    }
    scheme = padding.PKCS1v15() if header["alg"] == "RS256" else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    key.public_key().verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), scheme, hashes.SHA256())


def test_token_is_remembered_while_it_is_good(cas, person, authority) -> None:
    """A token is asked for again when less than five minutes are left, and by whoever gives another secret."""
    first = cas.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    cas.now += timedelta(hours=1)
    for minutes, asked in ((0, 1), (54, 1), (2, 2)):
        cas.now += timedelta(minutes=minutes)
        received(cas)
        assert len(authority.asked) == asked
    other = {"token": {**TOKEN, "application_secret": "another"}}
    cas.upload(secret_session(other, ["token"], predecessor=first.hash), person("ann"))
    received(cas)
    assert authority.asked[2]["client_secret"] == "another"


def test_nobody_waits_for_a_token(cas, person, authority) -> None:
    """The worker's loop is told to fetch first, before the challenge is used; afterwards it answers at once."""
    inner = {**TOKEN, "application_secret": SECRET, "export": {"session": "app"}}
    cas.upload(secret_session({"token": inner}, name="owner"), person("ann"))
    imported = {"import": {"session": "owner", "secret": "token"}}
    wrapped = {
        "key": {"kind": "private-key", "key_type": "P-384"},
        "jwt": {
            "kind": "jwt",
            "signer": "key",
            "alg": "ES384",
            "validity": {"for": "1h"},
            "payload": {"who": "$$SCONE::self::software_identity$$", "token": "$$SCONE::token$$"},
        },
    }
    cas.upload(secret_session({**wrapped, "token": imported}, ["token", "jwt"]), person("ann"))
    enclave, api = SoftwareEnclave(), cas.parts.enclave_api
    challenge = api.begin(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol": 1}'))[0]
    body = json.dumps(enclave.request(json.loads(challenge.body)["challenge"], "app/main")).encode()
    request = Request(method="POST", path="/v1/enclave/attest", body=body)
    with pytest.raises(PendingFetch) as needed:
        api.begin(request)
    assert authority.asked == []
    needed.value.ask()
    assert len(authority.asked) == 1
    answer, _ = api.begin(request)
    files = {file["path"]: file["content"] for file in enclave.open(json.loads(answer.body))["files"]}
    assert files["/token"] == base64.b64encode(b"a-token").decode()
    assert len(authority.asked) == 1


def test_others_are_answered_meanwhile(cas, person, authority) -> None:
    """While one request waits for a slow authority, the same worker answers others."""
    released = threading.Event()

    def slow(_: dict[str, str]) -> Answer:
        assert released.wait(20)
        return authority.token("a-token", 3600)

    authority.answer = slow
    cas.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    app = App(cas.parts.enclave_api, ConnectionWarden(0), rate=1000)

    async def post(path: str, body: object) -> dict[str, Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)  # a body comes from the network: meanwhile others have their turn
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": f"/v1/enclave/{path}", "headers": []}
        await app(scope, receive, send)
        found: dict[str, Any] = json.loads(sent[1]["body"])
        return found

    async def both() -> dict[str, Any]:
        enclave = SoftwareEnclave()
        challenge = (await post("challenge", {"protocol": 1}))["challenge"]
        attesting = asyncio.ensure_future(post("attest", enclave.request(challenge, "app/main")))
        while not authority.asked:
            await post("challenge", {"protocol": 1})
        assert not attesting.done()
        released.set()
        return enclave.open(await attesting)

    assert asyncio.run(both())["files"][0]["content"] == base64.b64encode(b"a-token").decode()


def test_an_authority_that_drips(authority, monkeypatch) -> None:
    """Bytes before the answer, one by one, do not make a delivery wait longer: the time is for the whole exchange."""
    monkeypatch.setattr(entra_client, "_TIME", 0.5)
    authority.drips = 30
    request = TokenRequest(tenant_id=TENANT, client_id=CLIENT, proof=SECRET)
    begin = time.monotonic()
    with pytest.raises(TokenError, match="ReadTimeout"):
        Entra(EntraSettings(authority=authority.url, ca_file=authority.ca_file)).token(
            request, now=datetime.now(UTC), nonce="n"
        )
    assert time.monotonic() - begin < 2


def test_a_token_is_fetched_once_for_all_that_wait(authority) -> None:
    """Requests for one token at a time are one request to the authority."""
    entra = Entra(EntraSettings(authority=authority.url, ca_file=authority.ca_file))
    request = TokenRequest(tenant_id=TENANT, client_id=CLIENT, proof=SECRET)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: entra.token(request, now=datetime.now(UTC), nonce="n"), range(16)))
    assert found == [b"a-token"] * 16
    assert len(authority.asked) == 1


def test_failure_is_remembered_for_a_moment(cas, person, authority) -> None:
    """An authority that fails is not asked again by the next one within ten seconds, and is after that."""
    authority.answer = lambda _: (500, b"")
    cas.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    for seconds, status, asked in ((0, 403, 1), (9, 403, 1), (2, 200, 2)):
        cas.now += timedelta(seconds=seconds)
        assert cas.attest("app/main")[0] == status
        assert len(authority.asked) == asked
        authority.answer = lambda _: authority.token("a-token", 3600)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (401, b'{"error": "invalid_client", "error_description": "AADSTS7000215: secret"}'),
            "refused: invalid_client",
        ),
        ((401, b'{"error": "no <b>word</b>"}'), "refused: status 401"),
        ((500, b"oops"), "refused: status 500"),
        ((302, b"{}"), "refused: status 302"),
        ((200, b"[" * 60_000), "answered without a token"),
        ((200, b"not JSON"), "answered without a token"),
        ((200, b"[]"), "answered without a token"),
        (Authority.token(None, 3600), "answered without a token"),
        (Authority.token("to\nken", 3600), "answered without a token"),
        (Authority.token("token", "3600"), "answered without a token"),
        (Authority.token("token", -1), "answered without a token"),
        ((200, b" " * 70_000), "cannot be asked: ReadTimeout"),
    ],
)
def test_failures_refuse_the_delivery(cas, person, authority, answer: Answer, words: str) -> None:
    """Whatever the authority says instead of a token: nothing is delivered, with a reason that holds no secret."""
    authority.answer = lambda _: answer
    cas.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    status, error = cas.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert error["message"].endswith(words)
    assert "secrets.token of 'app': there is no token: " in error["message"]
    assert SECRET not in error["message"]


def test_unknown_certificate_is_refused(new_cas, person, authority) -> None:
    """An authority for which none of the known CAs vouches is sent nothing."""
    found = new_cas(entra=EntraSettings(authority=authority.url))
    found.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    status, error = found.attest("app/main")
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "cannot be asked: ConnectError" in error["message"]
    assert authority.asked == []


def test_unreadable_ca_file_is_said(new_cas, person, authority, tmp_path: Path) -> None:
    """A file of CAs that is gone stops the delivery, not the CAS."""
    found = new_cas(entra=EntraSettings(authority=authority.url, ca_file=tmp_path / "gone.pem"))
    found.upload(secret_session(WITH_SECRET, ["token"]), person("ann"))
    _, error = found.attest("app/main")
    assert "the certificates that vouch for the authority cannot be read" in error["message"]


def test_imported_token_is_not_public_either(cas, person, authority) -> None:
    """Nobody makes the CAS fetch a token by asking for public values."""
    inner = {**TOKEN, "application_secret": SECRET, "export": {"session": "app"}}
    cas.upload(secret_session({"token": inner}, name="owner"), person("ann"))
    imported = {"import": {"session": "owner", "secret": "token"}, "export_public": True}
    cas.upload(secret_session({"token": imported}), person("ann"))
    answer = cas.ask("GET", "/v1/values/session=app")
    assert (answer.status, authority.asked) == (400, [])
    assert b"an aad-token cannot be public" in answer.body


FRAME = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"private_key": FRAME, "certificate_thumbprint": "ab" * 20}, r"secrets\.token\.private_key.*no private key"),
        ({"private_key": "$$SCONE::key$$", "certificate_thumbprint": "ab" * 20}, r"private_key.*must be RSA"),
        ({"application_secret": "x", "export_public": True}, "an aad-token cannot be public"),
    ],
)
def test_refused_at_upload(cas, person, change: dict, words: str) -> None:
    """A key that cannot sign an assertion, and a token for anyone, are refused before anything is stored."""
    with pytest.raises(Refusal, match=words):
        cas.upload(secret_session({"key": {"kind": "private-key"}, "token": {**TOKEN, **change}}), person("ann"))


def options(*arguments: str) -> EntraSettings:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    add_entra_options(parser)
    return EntraSettings.parse(parser.parse_args(arguments))


def test_options(tmp_path: Path) -> None:
    """The options of `cas serve` arrive in the store as they were meant, and default to Microsoft's authority."""
    file = tmp_path / "ca.pem"
    file.touch()
    found = options("--entra-authority", "https://login.example:8443/", "--entra-ca", str(file), "--entra-scope", "s")
    assert found == EntraSettings(authority="https://login.example:8443", ca_file=file, scope="s")
    assert EntraSettings.from_json(found.to_json()) == found
    assert EntraSettings.from_json(options().to_json()).authority == "https://login.microsoftonline.com"


@pytest.mark.parametrize(
    "arguments",
    [["--entra-authority", "http://a"], ["--entra-authority", "https://u@a/x"], ["--entra-ca", "/nowhere/ca.pem"]],
)
def test_wrong_options_are_said(arguments: list[str]) -> None:
    """An authority without TLS, and a file that is not there, stop the start."""
    with pytest.raises(SconeError, match="--entra-"):
        options(*arguments)
