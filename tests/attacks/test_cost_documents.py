"""Somebody who uploads documents that cost more than they should: to read, to refuse, to keep, to read again."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scone_cas.api.http import Request, Response
from scone_cas.server.assembly import assemble, finish, initialise
from scone_policy.errors import PolicyError
from scone_policy.syntax.problems import MOST_PROBLEMS
from scone_policy.syntax.yaml_source import MAX_BYTES, MAX_DEPTH, load
from support.software_enclave import MEASUREMENT

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PUBLIC = "access_policy: {read: [ANY], update: [ANY], create_sessions: [ANY]}\n"


class Parts:
    """A CAS without ports."""

    def __init__(self, state: Path) -> None:
        self.state = state
        initialise(state, now=_NOW, random=os.urandom(32))
        self.api = assemble(state, clock=lambda: _NOW).client_api

    def upload(self, text: str) -> Response:
        """The answer to an anonymous upload."""
        return self.api.handle(Request(method="POST", path="/session", body=text.encode()))

    def read(self, name: str) -> Response:
        """The answer to an anonymous question for a session."""
        return self.api.handle(Request(method="GET", path=f"/session/{name}"))


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """One with nothing in it."""
    return Parts(tmp_path / "state")


def head(name: str) -> str:
    return f"name: {name}\nversion: '0.3.12'\n{_PUBLIC}"


def ascii_secret(value: str) -> str:
    return f"secrets: [{{name: s, kind: ascii, value: {value}}}]\n"


def padded(name: str, size: int) -> str:
    """A plain description of exactly so many bytes."""
    empty = head(name) + ascii_secret("")
    return head(name) + ascii_secret("x" * (size - len(empty)))


def files(content: str, *, count: int, anchor: str = "") -> str:
    """Image files, the first with the content, the others with an alias to it."""
    first = f"{{path: /0, content: {anchor}{content}}}"
    rest = "".join(f", {{path: /{number}, content: *a}}" for number in range(1, count))
    return f"images: [{{name: i, injection_files: [{first}{rest}]}}]\n"


HOSTILE = {
    "aliases of a text": lambda name: head(name) + files("x" * 100_000, count=11, anchor="&a "),
    "aliases of aliases": lambda name: (
        head(name)
        + "secrets: [{name: s, kind: config-fragment, value: {a: &a [x, x, x, x, x, x, x, x, x, x]"
        + "".join(f", {chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]" for n in range(7))
        + "}}]\n"
    ),
    "an alias too deep": lambda name: (
        head(name)
        + "secrets: [{name: s, kind: config-fragment, value: {a: &a "
        + "[" * 40
        + "]" * 40
        + ", b: "
        + "[" * 40
        + "*a"
        + "]" * 40
        + "}}]\n"
    ),
    "quotes that double": lambda name: head(name) + ascii_secret('"' + "'" * 900_000 + '"'),
    "line breaks": lambda name: head(name) + ascii_secret('"' + "\\na" * 250_000 + '"'),
    "flow that becomes lines": lambda name: (
        head(name)
        + "secrets: [{name: s, kind: config-fragment, value: "
        + "[" * 50
        + ",".join(["1"] * 60_000)
        + "]" * 50
        + "}]\n"
    ),
    "a million bytes": lambda name: padded(name, MAX_BYTES - 19),
    "all that a request holds": lambda name: padded(name, MAX_BYTES),
    "many values": lambda name: (
        head(name) + "secrets: [{name: s, kind: config-fragment, value: [" + ",".join(["~"] * 99_960) + "]}]\n"
    ),
    "escapes": lambda name: head(name) + files('"' + "\\a" * 300_000 + '"', count=1),
    "characters outside": lambda name: head(name) + files('"' + "\U0001f600" * 200_000 + '"', count=1),
    "numbers": lambda name: head(name) + files("1" * 900_000, count=1),
    "a key of many letters": lambda name: head(name) + f"'{'k' * 100_000}': 1\n",
}


@pytest.mark.parametrize("which", HOSTILE)
def test_what_is_accepted_stays_usable(parts: Parts, which: str) -> None:
    """Whatever is taken can be read, replaced and built upon, also after a restart; what is refused leaves nothing."""
    answer = parts.upload(HOSTILE[which]("n"))
    assert answer.status in (201, 400), answer.body[:300]
    if answer.status == 201:
        finish(parts.state, reason="stopped")
        parts = Parts(parts.state)
        kept = parts.read("n")
        assert kept.status == 200
        load(kept.body.decode())
        hash_ = answer.body.decode().split("id=")[1].split(",")[0]
        assert parts.upload(head("n/below")).status == 201
        assert parts.upload(head("n") + f"predecessor: {hash_}\n").status == 201
    else:
        assert parts.read("n").status == 403
        assert parts.upload(head("n")).status == 201


@pytest.mark.parametrize("which", HOSTILE)
def test_the_root_stays_usable(parts: Parts, which: str) -> None:
    """The same done to `/`: whatever comes of it, the next one can still create sessions."""
    assert parts.upload(HOSTILE[which]("/")).status in (400, 409)
    assert parts.upload(head("n")).status == 201


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_aliases_count_where_they_stand(levels: int) -> None:
    """An alias counts with all its levels: one that stands too deep is refused, as if it were written out."""
    half = levels // 2
    text = f"a: &a {'[' * half}x{']' * half}\nb: {'[' * (levels - half - 1)}*a{']' * (levels - half - 1)}\n"
    plain = text.replace("*a", f"{'[' * half}x{']' * half}")
    outcomes = []
    for one in (text, plain):
        try:
            outcomes.append(load(one).data)
        except PolicyError as problem:
            outcomes.append(problem.what)
    assert outcomes[0] == outcomes[1]


def test_nested_aliases_end_early() -> None:
    """What would be a billion values is refused in milliseconds, while it is counted."""
    text = "a: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20))
    began = time.process_time()
    with pytest.raises(PolicyError, match="100000 values"):
        load(text)
    assert time.process_time() - began < 0.5


def services(count: int) -> str:
    return head("n") + "services:\n" + "".join(f"- {{name: s{n}, command: x}}\n" for n in range(count))


def test_many_problems_are_cut(parts: Parts) -> None:
    """24,000 services without attestation: the first problems are told, that there are more, and time is linear."""
    times = {}
    for count in (4_000, 24_000):
        began = time.process_time()
        answer = parts.upload(services(count))
        times[count] = time.process_time() - began
        assert answer.status == 400
        assert b"more than 50 rules are broken" in answer.body
        assert answer.body.count(b"at least one attestation variant") == MOST_PROBLEMS
        assert len(answer.body) < 20_000
    assert times[24_000] < 12 * times[4_000], times


LINEAR = {
    "nobody is named": lambda n: (
        f"- {{name: s{n}, command: $$SCONE::q{n}$$, attestation: {{mrenclave: {MEASUREMENT}}}}}\n"
    ),
    "unknown keys": lambda n: f"- {{name: s{n}, comand: x}}\n",
    "no map": lambda n: f"- {n}\n",
    "twice": lambda _: "- {name: s, command: x}\n",
}


@pytest.mark.parametrize("which", LINEAR)
def test_time_is_linear_in_problems(parts: Parts, which: str) -> None:
    """Whatever is wrong many times: four times as much of it takes no more than about four times as long."""
    times = []
    for count in (2_000, 8_000):
        text = head("n") + "services:\n" + "".join(map(LINEAR[which], range(count)))
        began = time.process_time()
        assert parts.upload(text).status == 400
        times.append(time.process_time() - began)
    assert times[1] < 8 * times[0] + 0.2, times


def test_chains_of_certificates_are_linear(parts: Parts) -> None:
    """Thousands of certificates that sign each other, with no circle until far away: refused within seconds."""
    text = head("n") + "secrets:\n- {name: k, kind: private-key}\n"
    text += "".join(f"- {{name: a{n}, kind: x509-ca, private_key: k, issuer: a{n + 1}}}\n" for n in range(3_000))
    began = time.process_time()
    assert parts.upload(text + "- {name: a3000, kind: x509-ca, private_key: k}\n").status == 400
    assert time.process_time() - began < 10


def test_what_is_generated_is_bounded(parts: Parts) -> None:
    """Thousands of keys, or gigabytes of random bytes, for a few letters each: refused before any of it is made."""
    many = head("n") + "secrets:\n" + "".join(f"- {{name: k{n}, kind: private-key}}\n" for n in range(5_000))
    large = head("n") + "secrets:\n" + "".join(f"- {{name: b{n}, kind: binary, size: 65536}}\n" for n in range(900))
    for text, words in ((many, b"at most 1000 can be generated"), (large, b"bytes can be generated")):
        began = time.process_time()
        answer = parts.upload(text)
        assert answer.status == 400
        assert words in answer.body
        assert time.process_time() - began < 5


def test_permission_comes_first(parts: Parts, monkeypatch) -> None:
    """Who may not create or update is told so from the name alone: nothing of the document is judged for them."""
    closed = "access_policy: {read: [NONE], update: [NONE], create_sessions: [NONE]}\n"
    assert parts.upload(f"name: mine\nversion: '0.3'\n{closed}").status == 201
    monkeypatch.setattr("scone_cas.sessions.descriptions.parse_document", None)
    for name in ("mine", "mine/below"):
        answer = parts.upload(services(24_000).replace("name: n\n", f"name: {name}\n"))
        assert answer.status == 403
        later = services(24_000).replace("name: n\n", "") + f"name: {name}\n"
        assert parts.upload(later).status == 403
    assert parts.upload(services(10).replace("name: n\n", "name: nowhere/n\n")).status == 404
