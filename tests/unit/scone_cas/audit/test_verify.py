"""The verifier of the audit log: every way to change a log without the keys is seen, and told apart."""

import base64
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.audit import verify as audit_verify
from scone_cas.audit.entry import KEY_CONTEXT, LONGEST_LINE, BadEntryError, read_line, write_line
from scone_cas.audit.verify import Known, Verdict
from scone_cas.identity.cas_identity import CasIdentity
from scone_provider.cli import main

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Writer:
    """Writes entries as a CAS would, or as one would that was set back."""

    identity: CasIdentity
    key: Ed25519PrivateKey
    number: int = 0
    previous: str = ""

    def line(self, event: str, **fields: object) -> bytes:
        """The next line."""
        entry, line = write_line(
            self.key, number=self.number + 1, time=NOW, event=event, fields=fields, previous=self.previous
        )
        self.number, self.previous = entry.number, entry.signature
        return line

    def start(self) -> bytes:
        """A start event with the link to the identity."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        spki = self.identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        signature = self.identity.key.sign(KEY_CONTEXT + raw, ec.ECDSA(hashes.SHA256()))
        named = {"audit_key": raw, "identity": spki, "identity_signature": signature}
        return self.line("cas_started", version="1", **{k: base64.b64encode(v).decode() for k, v in named.items()})


@cache
def keys(which: int) -> tuple[CasIdentity, Ed25519PrivateKey]:
    """The keys of one CAS or another."""
    return CasIdentity.create(now=NOW), Ed25519PrivateKey.from_private_bytes(bytes([which]) * 32)


def writer(which: int = 1) -> Writer:
    """A CAS that has written nothing."""
    return Writer(*keys(which))


@cache
def log(which: int = 1, entries: int = 9) -> tuple[bytes, ...]:
    """Lines: a run that crashed, and one that goes on."""
    cas = writer(which)
    lines = [cas.start(), cas.line("log_enabled")]
    lines += [cas.line("session_read", session="ü", key=None) for _ in range(entries - 5)]
    return (*lines, cas.start(), cas.line("service_attested", service="s"), cas.line("cas_exited", reason="stopped"))


def verify(content: bytes | tuple[bytes, ...], **options: Any) -> Verdict:
    """The verdict on bytes or lines."""
    data = content if isinstance(content, bytes) else b"".join(content)
    return audit_verify.verify(io.BytesIO(data), **options)


def known(line: bytes) -> Known:
    """The note of a line."""
    return Known.parse(read_line(line).note)


def test_good_log() -> None:
    """0; the verdict names the CAS, the range, the last entry and the crash."""
    verdict = verify(log())
    assert verdict == Verdict(
        code=0,
        message="complete and unbroken",
        cas_key=keys(1)[0].key_hash,
        first=1,
        last=read_line(log()[-1]).note,
        entries=9,
        crashes=1,
    )
    assert verify(log(), cas_key=keys(1)[0].key_hash, known=known(log()[3])).code == 0


def test_cut_at_every_byte() -> None:
    """A log cut anywhere is 0 at a line's end, else 10; 14 when an entry is known that was cut off; 17 empty."""
    whole = b"".join(log())
    ends = {len(b"".join(log()[:count])): count for count in range(10)}
    last = known(log()[-1])
    for size in range(len(whole)):
        part = whole[:size]
        if size < len(log()[0]):
            assert verify(part).code == audit_verify.MISSING, size
            continue
        assert verify(part).code == (0 if size in ends else audit_verify.FAILED_TRANSACTION), size
        assert verify(part, known=last).code == audit_verify.TRUNCATED_RECENT, size


def test_old_entries_moved_away() -> None:
    """15 without the beginning, as long as a start tells whose log it is; else 16. The parts together are complete."""
    lines = log()
    for count in range(1, 7):
        verdict = verify(lines[count:])
        assert (verdict.code, verdict.first, verdict.entries) == (audit_verify.TRUNCATED_OLD, count + 1, 9 - count)
        assert verify(lines[count:], known=known(lines[count - 1])).code == audit_verify.TRUNCATED_OLD
    assert verify(lines[7:]).code == audit_verify.UNKNOWN
    assert verify(lines[:4]).code == 0


def test_missing_in_between() -> None:
    """17 for every range of entries that is cut out of the middle."""
    lines = log()
    for begin in range(1, 8):
        for end in range(begin + 1, 9):
            assert verify(lines[:begin] + lines[end:]).code == audit_verify.MISSING, (begin, end)


def test_exchanged_and_repeated_lines() -> None:
    """No order but the right one passes; a line that comes again is another history."""
    lines = log()
    for one in range(1, 9):
        for other in range(one + 1, 9):
            changed = list(lines)
            changed[one], changed[other] = changed[other], changed[one]
            assert verify(tuple(changed)).code == audit_verify.MISSING
        assert verify((*lines[: one + 1], *lines[one:])).code == audit_verify.ROLLBACK


def test_history_that_was_replaced() -> None:
    """18: a CAS that was set back signs other entries under used numbers: in one file, or against a known entry."""
    old = log()
    cas = writer()
    again = [cas.start(), cas.line("log_enabled"), *(cas.line("session_read", session="x") for _ in range(9))]
    assert verify(tuple(again)).code == 0
    assert verify((*old[:4], *again[4:])).code == audit_verify.ROLLBACK
    assert verify((*old, *again)).code == audit_verify.ROLLBACK
    assert verify(tuple(again), known=known(old[5])).code == audit_verify.ROLLBACK
    # The known entry is the last one before the part that is here.
    rest = (*again[3:], cas.start())
    assert verify(rest).code == audit_verify.TRUNCATED_OLD
    assert verify(rest, known=known(old[2])).code == audit_verify.ROLLBACK


def test_older_copy() -> None:
    """14: an older copy of the whole log is seen by who knows a newer entry; nobody else can."""
    assert verify(log()[:5]).code == 0
    assert verify(log()[:5], known=known(log()[5])).code == audit_verify.TRUNCATED_RECENT


def test_another_cas() -> None:
    """19: a whole file of another CAS, and one that goes on with another CAS's."""
    assert verify(log(2)).code == 0
    assert verify(log(2), cas_key=keys(1)[0].key_hash).code == audit_verify.OTHER_CAS
    assert verify((*log(), *log(2))).code == audit_verify.OTHER_CAS
    # Lines without the start that names their CAS are just wrongly signed.
    assert verify((*log()[:6], *log(2)[6:])).code in (audit_verify.OTHER_CAS, audit_verify.INVALID)
    assert verify((*log()[:2], log(2)[2])).code == audit_verify.INVALID


def test_link_to_the_identity() -> None:
    """20: an audit key that the identity did not sign is nobody's, whatever the identity's name beside it."""
    thief = Writer(keys(1)[0], keys(2)[1])
    stolen = json.loads(log()[0])["entry"]["fields"]
    fields = json.loads(thief.start())["entry"]["fields"] | {"identity_signature": stolen["identity_signature"]}
    forged = Writer(keys(1)[0], keys(2)[1])
    assert verify(forged.line("cas_started", **fields)).code == audit_verify.INVALID
    other = Writer(keys(1)[0], keys(2)[1])
    assert verify(other.line("cas_started", **stolen)).code == audit_verify.INVALID


def test_unknown_event() -> None:
    """16: rightly signed, but this verifier cannot say what it means."""
    cas = writer()
    assert verify((cas.start(), cas.line("cas_dreamt"))).code == audit_verify.UNKNOWN


def test_endless_line() -> None:
    """A line without an end is not read whole; one that is too long is no entry."""
    assert verify(log()[0] + b"x" * (LONGEST_LINE + 1)).code == audit_verify.INVALID
    assert verify(log()[0] + b"x" * (4 * LONGEST_LINE) + b"\n").code == audit_verify.INVALID
    with pytest.raises(ValueError, match="8192"):
        writer().line("session_read", session="x" * LONGEST_LINE)


WHOLE = b"".join(log())
STARTS = {len(b"".join(log()[:count])) for count in range(10)}


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_changed_byte(place: int, change: int) -> None:
    """A changed byte anywhere is seen: 20, or 10 where the very last line feed is what changed."""
    changed = WHOLE[:place] + bytes([WHOLE[place] ^ change]) + WHOLE[place + 1 :]
    expected = audit_verify.FAILED_TRANSACTION if place == len(WHOLE) - 1 else audit_verify.INVALID
    assert verify(changed).code == expected


@given(st.integers(0, len(WHOLE)), st.integers(0, 600), st.binary(max_size=600))
def test_any_edit(place: int, removed: int, inserted: bytes) -> None:
    """Whatever is cut out and put in: never a crash, and 0 only for a log that was cut at a line's end."""
    changed = WHOLE[:place] + inserted + WHOLE[place + removed :]
    if verify(changed).code == 0:
        assert WHOLE.startswith(changed)
        assert len(changed) in STARTS


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """No bytes that we did not write are an entry, and none crash the reader."""
    assert verify(content).code != 0
    with pytest.raises(BadEntryError):
        read_line(content)


@given(st.text(max_size=60).filter(lambda text: text.isprintable()), st.integers(0, 2**53))
def test_lines_read_back(text: str, number: int) -> None:
    """What is written is read again with the same meaning and signed bytes, one line each."""
    cas = Writer(*keys(1), number=number, previous="" if number == 0 else base64.b64encode(bytes(64)).decode())
    line = cas.line("session_read", session=text, key=None)
    entry = read_line(line)
    assert (entry.number, entry.fields) == (number + 1, {"session": text, "key": None})
    assert line.count(b"\n") == 1
    assert entry.content in line


@pytest.mark.parametrize("text", ["", "1", "1:", "x:AAAA", "-1:" + "A" * 86 + "==", "1:" + "A" * 85 + "B=="])
def test_known_entry_is_spelt_one_way(text: str) -> None:
    """--last takes what the verifier prints, and nothing near it."""
    with pytest.raises(ValueError, match="NUMBER:SIGNATURE"):
        Known.parse(text)


def test_command(tmp_path, capsys) -> None:
    """`pulumi-scone audit verify`: the verdict as exit code, words and JSON; what it prints can be given back to it."""
    path = tmp_path / "audit.log"
    path.write_bytes(WHOLE)
    assert main(["audit", "verify", str(path), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert main(["audit", "verify", str(path), "--last", verdict["last"], "--key", verdict["cas_key"]]) == 0
    assert verdict["last"] in capsys.readouterr().out
    path.write_bytes(WHOLE[:-1])
    assert main(["audit", "verify", str(path)]) == 10
    assert main(["audit", "verify", str(path), "--last", verdict["last"]]) == 14
    assert main(["audit", "verify", str(tmp_path / "none")]) == 1
    assert main(["audit", "verify", str(path), "--last", "7"]) == 1
    assert main(["audit", "verify", str(path), "--key", "7"]) == 1
    assert "Traceback" not in capsys.readouterr().err
