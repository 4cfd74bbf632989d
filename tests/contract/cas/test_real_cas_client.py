"""Client and embedded CAS over real TLS: what works, and each way it must not."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from scone_provider.cas.errors import CasConflict, CasForbidden, CasUnreachable
from scone_provider.cas.transport import PinnedContext, close_clients
from scone_provider.errors import CasError, TrustError
from support.real_cas import ENOUGH


def text(name: str, rest: str = "", predecessor: str | None = None) -> str:
    """A minimal description."""
    before = f"predecessor: {predecessor}\n" if predecessor else ""
    return f"name: {name}\nversion: '0.3.10'\n{before}{rest}"


def test_upload_and_read(cas, ann, name) -> None:
    """What was uploaded is read back, by its owner, with hash and creator."""
    client = cas.client(ann)
    hash_ = client.upload(text(name, "secrets: [{name: s, kind: ascii}]\n"))
    found = client.read(name)
    assert found is not None
    assert (found.hash, found.predecessor) == (hash_, None)
    assert yaml.safe_load(found.description_yaml)["creator"] == ann.certificate_pem
    assert client.key_hash == cas.key_hash
    assert client.version()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_proxies_are_not_for_cas(cas, ann, name, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CAS proves its key on a connection of its own: proxies of the environment, of whatever kind, have no part."""
    for variable in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, proxy)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    close_clients()
    assert cas.client(ann).upload(text(name))


def test_missing_session_is_none(cas, ann) -> None:
    """No session, no version: None, not an error."""
    client = cas.client(ann)
    assert client.read("not/there") is None
    assert client.read_version("not/there", "0" * 64) is None
    assert list(client.history("not/there")) == []


def test_history(cas, ann, name) -> None:
    """From the newest version backwards, to the hash that is known, or to the first."""
    client = cas.client(ann)
    hashes: list[str] = []
    for _ in range(4):
        hashes.append(client.upload(text(name, predecessor=hashes[-1] if hashes else None)))
    assert [version.hash for version in client.history(name)] == hashes[::-1]
    assert [version.hash for version in client.history(name, until_hash=hashes[2])] == [hashes[3], hashes[2]]
    assert [version.hash for version in client.history(name, until_hash="f" * 64)] == hashes[::-1]


def test_lost_update(cas, ann, name) -> None:
    """An update on an old version is a conflict with the CAS's words."""
    client = cas.client(ann)
    first = client.upload(text(name))
    client.upload(text(name, predecessor=first))
    with pytest.raises(CasConflict, match=f"Invalid previous session digest: {first}"):
        client.upload(text(name, predecessor=first))


def test_no_rights(cas, ann, bob, name) -> None:
    """Another key may neither read nor update; the error names that key."""
    first = cas.client(ann).upload(text(name))
    for attempt in (lambda: cas.client(bob).read(name), lambda: cas.client(bob).upload(text(name, predecessor=first))):
        with pytest.raises(CasForbidden, match=bob.key_hash):
            attempt()
    with pytest.raises(CasForbidden, match="no client certificate"):
        cas.client(None).read(name)


def test_bad_session_names_the_rule(cas, ann, name) -> None:
    """A description that breaks a rule comes back with its place."""
    with pytest.raises(CasError, match="services") as refusal:
        cas.client(ann).upload(text(name, "services: [{nam: x}]\n"))
    assert "Error: Error" not in str(refusal.value)


def test_missing_switches_are_all_named(cas, ann) -> None:
    """Without switches the CAS is not trusted; the error names each, with its meaning, and what to do."""
    with pytest.raises(TrustError) as refusal:
        cas.client(ann, tolerance="")
    for switch in ENOUGH.split():
        assert f"- {switch}: " in str(refusal.value)
    assert "cas_key" in str(refusal.value)


def test_pin_replaces_evidence(cas, ann) -> None:
    """With the right pin no switch is needed."""
    client = cas.client(ann, tolerance="", cas_key=cas.key_hash)
    assert client.key_hash == cas.key_hash
    assert client.evidence is None


def test_exact_measurement(cas, ann) -> None:
    """The measurement that the evidence shows can be demanded."""
    evidence = cas.client(ann).evidence
    assert evidence is not None
    exact = ENOUGH.replace("--only_for_testing-trust-any", f"--mrenclave {evidence.mrenclave}")
    assert cas.client(ann, tolerance=exact).key_hash == cas.key_hash
    with pytest.raises(TrustError, match="trust-any"):
        cas.client(ann, tolerance=exact.replace(evidence.mrenclave, "0" * 64))


def test_wrong_pin(cas, ann) -> None:
    """Another key than the pinned one is refused, and both are named."""
    with pytest.raises(TrustError, match=f"{cas.key_hash}.*{ann.key_hash} is pinned"):
        cas.client(ann, cas_key=ann.key_hash)
    with pytest.raises(TrustError, match="cas_key: not a Base58Check"):
        cas.client(ann, cas_key="nonsense")


def test_changed_cas_key(cas, ann) -> None:
    """Another key than the one trusted before stops, whatever the switches allow."""
    with pytest.raises(TrustError, match="another CAS key"):
        cas.client(ann, known_key=ann.key_hash)
    assert cas.client(ann, known_key=cas.key_hash).key_hash == cas.key_hash


def test_cas_down(ann, cas) -> None:
    """Nobody answers: which CAS, where it was looked for, what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CasUnreachable, match=f"cas.test cannot be reached at 127.0.0.1:{port}: connection refused"):
        cas.client(ann, connect_to={"cas.test": f"127.0.0.1:{port}"})


def test_unknown_host(ann, cas) -> None:
    """A name that does not resolve is said, with the setting that maps it."""
    with pytest.raises(CasUnreachable, match="connectTo"):
        cas.client(ann, connect_to={"cas.test": "no-such-host.invalid"})


def test_cas_replaced_after_attestation(own_cas, ann, name) -> None:
    """When another CAS takes over the address later, no byte of an upload reaches it."""
    first = own_cas(name="one")
    client = first.client(ann)
    client.upload(text(name))
    first.stop()
    second = own_cas("--client-port", str(first.port), name="two")
    assert second.port == first.port
    assert second.key_hash != first.key_hash
    with pytest.raises((TrustError, CasUnreachable)):
        client.upload(text("leaked"))
    assert b"leaked" not in second.log.read_bytes()
    assert second.client(ann).read("leaked") is None


def test_pinned_context_sends_nothing_to_another_key(cas) -> None:
    """The check comes right after the handshake: the caller never gets a connection to write to."""
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.pinned = "2wkBET2rRgE8pahuaczxKbmv7ciehqsne57F9gtzf1PVdr2VP3"
    with socket.create_connection(("127.0.0.1", cas.port)) as raw, pytest.raises(TrustError, match="another key"):
        context.wrap_socket(raw)


def test_threads_share_one_client(cas, ann, name) -> None:
    """Four threads that each connect end up on one HTTP client, and all get their answers."""
    cas.client(ann).upload(text(name))

    def work(_: int) -> tuple[int, str]:
        client = cas.client(ann)
        return id(client._http), client.read(name).hash

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(work, range(40)))
    assert len(found) == 1


def test_nothing_secret_in_log_or_state(own_cas, ann, name) -> None:
    """Given and generated values are in no log line and in no file of the state; errors included."""
    own = own_cas()
    client = own.client(ann)
    planted = "planted-SECRET-0123456789"
    secrets = (
        f"secrets:\n- {{name: s, kind: ascii, value: {planted}}}\n"
        "- {name: g, kind: ascii, size: 30, export_public: true}\n"
    )
    first = client.upload(text(name, secrets))
    public = own.client(None)._http.get(f"/v1/values/session={name},secret=g").json()["value"]
    assert len(public) == 30
    for broken in (
        text(name, secrets),
        text(name, secrets + f"{planted}: 1\n"),
        text(name, secrets, predecessor="0" * 64),
    ):
        with pytest.raises(CasError):
            client.upload(broken)
    client.read(name)
    files = b"".join(path.read_bytes() for path in own.state.iterdir())
    assert own.stop() == 0
    log = own.log.read_bytes()
    assert f"session={name}".encode() in log
    assert first.encode() not in log  # no salt: the hash is not for everyone
    for secret in (planted.encode(), public.encode()):
        assert secret not in log
        assert secret not in files
