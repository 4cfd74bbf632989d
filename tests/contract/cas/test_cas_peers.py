"""Other CASes that are wrong, slow, or gone: refused in words, in time, and without holding up anybody else."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scone_cas.federation.peers import AT_ONCE, FRESH
from scone_cas.federation.settings import PeerSettings
from scone_cas.identity.cas_evidence import CasEvidenceIssuer, measure
from scone_cas.identity.cas_identity import CasIdentity
from scone_policy.keys.cas_evidence import software_key
from support.false_cas import FalseCas, answer, granting
from support.importing_cas import DEBUG, EXPORTED, SERVED, importing, refused, session


def drip(_line: str, _body: bytes) -> Iterator[bytes]:
    """An answer that never ends."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    pause = threading.Event()
    while not pause.wait(0.02):
        yield b" "


def drip_headers(_line: str, _body: bytes) -> Iterator[bytes]:
    """An answer that never begins."""
    yield b"HTTP/1.1 200 OK\r\n"
    pause = threading.Event()
    while not pause.wait(0.02):
        yield b"x"


FLOOD = [b"HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n", *[b"x" * 500_000] * 6]


@pytest.mark.parametrize(
    ("behave", "part"),
    [
        (drip, "no answer in time"),
        (drip_headers, "no answer in time"),
        (lambda *_asked: FLOOD, "more than 2097152 bytes"),
        (lambda *_asked: [], "connection broke"),
        (lambda *_asked: [b"nonsense\r\n\r\n"], "connection broke"),
        (lambda *_asked: answer(200, b"[]"), "no secret"),
        (lambda *_asked: answer(200, {"value": "x"}), "no secret"),
        (granting(b"x", kind="zonk"), "no secret"),
        (granting(b"x", hash="x"), "no secret"),
        (granting(b"x", more={"a": 1}), "no secret"),
        (granting(b"x", content="!"), "no secret"),
        (lambda *_asked: answer(503, {}), "too busy"),
        (lambda *_asked: answer(302, {}), "does not share"),
        (lambda line, _body: answer(404 if "POST" in line else 200, b"\xff"), "no JSON"),
        (lambda line, _body: answer(404 if "POST" in line else 200, {"value": 7}), "kind and value"),
    ],
)
def test_peer_that_misbehaves(own, name, behave, part: str) -> None:
    """A peer with the right key that is slow, floods, or talks nonsense: refused in words, within its time."""
    own.use(PeerSettings(), answer_time=0.5)
    with FalseCas(behave) as false:
        begin = time.monotonic()
        with refused(502, part):
            own.upload(session(name, importing(false.url, f"cas_key: {false.identity.key_hash}")))
        assert time.monotonic() - begin < 5
    assert own.sessions.live(name) is None


def test_impostor_learns_nothing(own, cas, name) -> None:
    """Who has another key than the pinned one gets no byte of a request."""
    own.use(PeerSettings())
    with FalseCas(granting(b"false")) as false:
        with refused(502, "has the key " + false.identity.key_hash, "another CAS answers"):
            own.upload(session(name, importing(false.url, f"cas_key: {cas.key_hash}")))
        assert false.connections == 1
    assert false.asked == []


def forging(evidence: Callable[[str], dict[str, object]]):
    """A CAS that gives evidence and would then grant a secret."""

    def behave(line: str, _body: bytes) -> list[bytes]:
        if "/v1/attest" in line:
            return answer(200, evidence(line.partition("nonce=")[2]))
        return granting(b"false")(line, _body)

    return behave


@pytest.mark.parametrize("how", ["relayed", "stale", "unsigned", "foreign format", "nothing"])
def test_wrong_evidence_is_refused(own, name, how: str) -> None:
    """Evidence of another key, for another nonce, with another signature or format makes no CAS the right one."""
    identity = CasIdentity.create(now=datetime.now(UTC))
    key = X25519PrivateKey.generate().public_key()
    honest = CasEvidenceIssuer(CasIdentity.create(now=datetime.now(UTC)), measure(), key)
    mine = CasEvidenceIssuer(identity, measure(), key)

    def evidence(nonce: str) -> dict[str, object]:
        if how == "nothing":
            return {}
        found = (honest if how == "relayed" else mine).evidence("A" * 43 if how == "stale" else nonce)
        inner = found["evidence"]
        assert isinstance(inner, dict)
        if how in ("unsigned", "foreign format"):
            body = json.loads(base64.b64decode(inner["body"]))
            body["format" if how == "foreign format" else "version"] = "other"
            inner["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        return found

    own.use(PeerSettings())
    pin = f"cas_software_key: {software_key(measure())}"
    words = {
        "relayed": "another key than its TLS key",
        "stale": "not fresh",
        "unsigned": "does not verify",
        "foreign format": "cannot be judged",
        "nothing": "something else",
    }
    with FalseCas(forging(evidence), identity) as false:
        with refused(502, words[how]):
            own.upload(session(name, importing(false.url, pin) + DEBUG))
        assert not [line for line in false.asked if "POST" in line]


def test_peer_that_is_down(own, name) -> None:
    """Nobody listens: said at once, and not tried again for every secret of the session."""
    own.use(PeerSettings())
    with FalseCas(granting(b"x")) as false:
        pass
    text = importing(false.url, f"cas_key: {false.identity.key_hash}")
    many = text.replace("}}]", "}}, " + text[len("secrets: [") : -2].replace("name: s", "name: t") + "]")
    with refused(502, "cannot be reached: nobody listens there"):
        own.upload(session(name, many))


def test_peer_that_comes_back(own, name) -> None:
    """After a failure a peer is left alone for seconds, then asked again; connections are used again."""
    own.use(PeerSettings())
    with FalseCas(lambda *_asked: []) as false:
        text = session(name, importing(false.url, f"cas_key: {false.identity.key_hash}"))
        for _ in range(2):
            with refused(502, "connection broke"):
                own.upload(text)
        assert len(false.asked) == 1
        false.behave = granting(b"now")
        own.now += 5
        own.upload(text)
        assert own.value(name).content == b"now"


def test_too_many_peers_are_refused(own, name) -> None:
    """A session cannot make this CAS ask everybody."""
    own.use(PeerSettings())
    entries = "".join(
        f"- {{name: s{n}, kind: ascii, import: {{session: x, secret: s, cas_url: 'a{n}', cas_key: '{'ab' * 32}'}}}}\n"
        for n in range(9)
    )
    with refused(400, "at most 64 from at most 8 other CASes"):
        own.upload(session(name, f"secrets:\n{entries}"))


def test_nobody_without_permission_makes_a_cas_ask(own, name) -> None:
    """An upload that is refused for its caller reaches no other CAS."""
    own.use(PeerSettings())
    own.upload(f"name: {name}\nversion: '0.3'\naccess_policy: {{read: [ANY], update: [NONE]}}\n")
    with FalseCas(granting(b"x")) as false:
        text = importing(false.url, f"cas_key: {false.identity.key_hash}")
        with refused(403, "no permission to update"):
            own.upload(session(name, text, own.sessions.live(name).hash))
    assert false.connections == 0


def test_writer_waits_for_no_peer(own, name) -> None:
    """While an upload asks another CAS, the store takes others; so many may ask at a time, and the next is told so."""
    own.use(PeerSettings())
    asked, go_on = threading.Semaphore(0), threading.Event()

    def hang(line: str, body: bytes) -> list[bytes]:
        asked.release()
        go_on.wait(20)
        return granting(b"late")(line, body)

    with FalseCas(hang) as false:
        text = importing(false.url, f"cas_key: {false.identity.key_hash}")
        done: list[str] = []
        uploads = [
            threading.Thread(target=lambda n=n: done.append(own.upload(session(f"{name}{n}", text))))
            for n in range(AT_ONCE)
        ]
        for upload in uploads:
            upload.start()
        assert all(asked.acquire(timeout=10) for _ in uploads)
        assert own.upload(session(f"{name}-other", ""))
        with refused(503, "too many requests wait for other CASes"):
            own.upload(session(f"{name}-more", text))
        assert not done
        go_on.set()
        for upload in uploads:
            upload.join(20)
    assert len(done) == AT_ONCE
    assert own.value(f"{name}0").content == b"late"


def test_one_question_for_many_that_ask_the_same(own, name) -> None:
    """Services that start together wait for one answer."""
    own.use(PeerSettings())
    with FalseCas(granting(b"first")) as false:
        own.upload(session(name, importing(false.url, f"cas_key: {false.identity.key_hash}")))
        own.now += FRESH
        asked, go_on = threading.Event(), threading.Event()

        def hang(line: str, body: bytes) -> list[bytes]:
            asked.set()
            go_on.wait(20)
            return granting(b"second")(line, body)

        false.behave = hang
        found: list[bytes] = []
        services = [threading.Thread(target=lambda: found.append(own.value(name).content)) for _ in range(AT_ONCE)]
        for service in services:
            service.start()
        assert asked.wait(10)
        go_on.set()
        for service in services:
            service.join(20)
    assert found == [b"second"] * AT_ONCE
    assert len(false.asked) == 2


def test_slow_peer_holds_up_nobody_else(own_cas, ann) -> None:
    """While one service waits for another CAS, the same worker serves others; then the one gets its reason."""
    own, asked, go_on = own_cas("--workers", "1"), threading.Event(), threading.Event()
    with FalseCas(granting(b"first")) as false:
        client = own.client(ann)
        client.upload(session("waits", importing(false.url, f"cas_key: {false.identity.key_hash}") + SERVED))
        client.upload(session("other", EXPORTED.format(export="[]") + SERVED))

        def hang(_line: str, _body: bytes) -> list[bytes]:
            asked.set()
            go_on.wait(20)
            return []

        false.behave = hang
        found: list[tuple[int, dict]] = []
        waiting = threading.Thread(target=lambda: found.append(own.enclave.attest("waits/main")))
        waiting.start()
        assert asked.wait(10)
        assert own.enclave.attest("other/main")[0] == 200
        client.upload(session("new", ""))
        assert not found
        go_on.set()
        waiting.join(20)
    ((status, error),) = found
    assert (status, error["code"]) == (403, "secret_unavailable")
    assert "connection broke" in error["message"]
