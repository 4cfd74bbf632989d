"""One-time passwords: the standard's own values, one use, a small window, few guesses, over restarts and workers."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_cas.attestation import one_time_passwords
from scone_cas.attestation.one_time_passwords import MOST_FAILURES, PERIOD, STEP, password
from support.enclave_side import NOON, EnclaveSide
from support.software_enclave import MEASUREMENT

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OTHER = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"
SESSION = f"""
name: app
version: "0.3.10"
services:
  - {{name: main, command: [prog], attestation: {{mrenclave: {MEASUREMENT}}}}}
  - {{name: second, command: [prog], attestation: {{mrenclave: {MEASUREMENT}}}}}
  - name: own
    command: [prog]
    attestation: {{mrenclave: {MEASUREMENT}}}
    one_time_password_shared_secret: {OTHER}
security: {{attestation: {{tolerate: [debug-mode], one_time_password_shared_secret: {SECRET}}}}}
"""


def at(seconds: int, secret: str = SECRET) -> str:
    """The password at a time."""
    return password(secret, seconds // STEP)


@pytest.fixture
def side(cas, person):
    """A CAS with services that ask for passwords."""
    cas.upload(SESSION, person("ann"))
    return EnclaveSide(cas)


@pytest.mark.parametrize(
    ("seconds", "digits"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_values_of_the_standard(seconds: int, digits: str) -> None:
    """RFC 6238, appendix B, SHA-1: the last six of its eight digits."""
    assert at(seconds) == digits


def test_good_once(side) -> None:
    """A password lets one enclave in, and no second one, of whatever service it was made for."""
    assert side.code(f"app/main@{at(NOON)}") == "ok"
    assert side.code(f"app/main@{at(NOON)}") == "otp_used"
    assert side.code(f"app/second@{at(NOON)}") == "otp_used"
    side.now += STEP
    assert side.code(f"app/second@{at(side.now)}") == "ok"


def test_answer_names_what_was_asked(side) -> None:
    """The configuration repeats the config id with the password: the launcher compares it."""
    _, found = side.attest(f"app/main@{at(NOON)}")
    assert found["config_id"] == f"app/main@{at(NOON)}"


@pytest.mark.parametrize(("steps", "code"), [(-2, "otp_wrong"), (-1, "ok"), (0, "ok"), (1, "ok"), (2, "otp_wrong")])
def test_window(side, steps: int, code: str) -> None:
    """The half minutes beside the current one are good, others are not."""
    assert side.code(f"app/main@{at(NOON + steps * STEP)}") == code


def test_older_one_than_the_last_is_used_up(side) -> None:
    """After a password, one of an earlier half minute is not taken any more."""
    assert side.code(f"app/main@{at(NOON)}") == "ok"
    assert side.code(f"app/main@{at(NOON - STEP)}") == "otp_used"


def test_service_has_its_own_secret(side) -> None:
    """The service's own shared secret takes the place of the session's; their passwords do not touch each other."""
    assert side.code(f"app/own@{at(NOON)}") == "otp_wrong"
    assert side.code(f"app/main@{at(NOON)}") == "ok"
    assert side.code(f"app/own@{at(NOON, OTHER)}") == "ok"


@pytest.mark.parametrize(
    "given_", ["", "12345", "1234567", "abcdef", "\N{FULLWIDTH DIGIT ONE}23456", "123456@1", " 12345"]
)
def test_what_is_no_password_is_wrong(side, given_: str) -> None:
    """Only six ASCII digits can be right."""
    assert side.code(f"app/main@{given_}") == "otp_wrong"


def test_missing_one_is_said(side) -> None:
    """Without a password the refusal says how it is given."""
    _, error = side.attest("app/main")
    assert error["code"] == "otp_missing"
    assert "SCONE_CONFIG_ID" in error["message"]


def test_one_that_is_not_asked_for(cas, person) -> None:
    """A password for a service without one is refused: somebody expects a protection that is not there."""
    cas.upload(SESSION.replace(f", one_time_password_shared_secret: {SECRET}", ""), person("ann"))
    side = EnclaveSide(cas)
    assert side.code("app/main") == "ok"
    assert side.code(f"app/main@{at(NOON)}") == "otp_unexpected"


def test_few_guesses(side) -> None:
    """After five wrong ones even the right one is refused, until the period is over; a success begins anew."""
    for _ in range(2):
        for _ in range(MOST_FAILURES - 1):
            assert side.code("app/main@000000") == "otp_wrong"
        side.now += STEP
        assert side.code(f"app/main@{at(side.now)}") == "ok"
    for _ in range(MOST_FAILURES):
        assert side.code("app/main@000000") == "otp_wrong"
    side.now += STEP
    assert side.code(f"app/second@{at(side.now)}") == "otp_throttled"
    assert side.code(f"app/own@{at(side.now, OTHER)}") == "ok"
    side.now += PERIOD
    assert side.code(f"app/main@{at(side.now)}") == "ok"


def test_few_guesses_before_the_first_success(side) -> None:
    """Wrong passwords count for a secret under which no right one ever came, to the last second of the period."""
    for _ in range(MOST_FAILURES):
        assert side.code("app/main@000000") == "otp_wrong"
    for wait in (0, PERIOD - 1):
        side.now = NOON + wait
        assert side.code(f"app/main@{at(side.now)}") == "otp_throttled"
    side.now = NOON + PERIOD
    assert side.code(f"app/main@{at(side.now)}") == "ok"


def test_refusal_says_how_long(side) -> None:
    """Who is refused for wrong guesses reads the seconds that are left, of those since the first."""
    for _ in range(MOST_FAILURES):
        side.code("app/main@000000")
    side.now += 100
    _, error = side.attest("app/main@000000")
    assert error["message"].endswith(f"try again in {PERIOD - 100} seconds")


def test_only_the_attested_may_guess(side) -> None:
    """Wrong evidence neither uses a password up nor counts as a guess."""
    for _ in range(MOST_FAILURES + 1):
        assert side.code("app/main@000000", measurement="00" * 32) == "unexpected_measurement"
    assert side.code(f"app/main@{at(NOON)}", measurement="00" * 32) == "unexpected_measurement"
    assert side.code(f"app/main@{at(NOON)}") == "ok"


def test_mode_none_still_asks(cas, person) -> None:
    """A session that attests nothing still demands its password, as published examples do."""
    cas.upload(SESSION.replace("tolerate: [debug-mode]", "mode: none"), person("ann"))
    side = EnclaveSide(cas)
    assert side.code("app/main") == "otp_missing"
    assert side.code(f"app/main@{at(NOON)}", measurement="00" * 32) == "ok"


def test_use_survives_a_restart(side, cas) -> None:
    """Another process on the same state knows which passwords were used."""
    assert side.code(f"app/main@{at(NOON)}") == "ok"
    cas.store.close()
    assert EnclaveSide(cas).code(f"app/main@{at(NOON)}") == "otp_used"


def test_secret_of_another_session(cas, person) -> None:
    """The shared secret may be imported, spelt in base32 by its placeholder."""
    cas.upload(
        "name: otp\nversion: '0.3.10'\n"
        "secrets: [{name: shared, kind: binary, value: '3132333435363738393031323334353637383930', "
        "export: {session: app}}]\n",
        person("ann"),
    )
    text = SESSION.replace(
        f"one_time_password_shared_secret: {SECRET}}}",
        "one_time_password_shared_secret: $$SCONE::shared:base32nopad$$}",
    )
    importing = "secrets: [{name: shared, kind: binary, import: {session: otp, secret: shared}}]\n"
    cas.upload(text + importing, person("ann"))
    side = EnclaveSide(cas)
    assert side.code(f"app/main@{at(NOON)}") == "ok"
    assert side.code(f"app/main@{at(NOON)}") == "otp_used"


def test_unfit_secret_is_said(cas, person) -> None:
    """A secret that is no shared secret refuses the service, and nothing of it is shown."""
    text = SESSION.replace(SECRET, "$$SCONE::shared$$")
    own = "secrets: [{name: shared, kind: ascii, value: too-short, export: {session: app}}]\n"
    cas.upload(f"name: own\nversion: '0.3'\n{own}", person("ann"))
    cas.upload(text + "secrets: [{name: shared, import: {session: own, secret: shared}}]\n", person("ann"))
    _, error = EnclaveSide(cas).attest(f"app/main@{at(NOON)}")
    assert error["code"] == "secret_unavailable"
    assert "one_time_password_shared_secret" in error["message"]
    assert "too-short" not in error["message"]


def test_one_of_many_at_a_time(side, cas) -> None:
    """Of eight enclaves with one password exactly one is let in."""
    codes: list[str] = []
    begin = threading.Barrier(8)

    def enter() -> None:
        begin.wait()
        codes.append(side.code(f"app/main@{at(NOON)}"))
        cas.store.close()
        cas.parts.challenges.close()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["ok"] + ["otp_used"] * 7


def test_nothing_writes_a_password_down(side, cas, capfd) -> None:
    """A password that was refused for another reason is still good: it stands in no log and no refusal."""
    digits = at(NOON)
    _, error = side.attest(f"app/main@{digits}", measurement="00" * 32)
    side.code(f"app/other@{digits}")
    written = capfd.readouterr().err + (cas.state / "audit.log").read_text() + str(error)
    assert digits not in written
    assert "app/main" in written


def test_rows_do_not_pile_up(side, cas) -> None:
    """What a shared secret left is forgotten once it says nothing any more."""
    side.code(f"app/main@{at(NOON)}")
    side.now += PERIOD + STEP
    side.code(f"app/own@{at(side.now, OTHER)}")
    assert cas.store.row("SELECT count(*) FROM password") == (1,)


@given(st.integers(0, 2**40), st.binary(min_size=16, max_size=64))
def test_passwords_are_six_digits(step: int, key: bytes) -> None:
    """Whatever the secret and the time, there are six digits, and the same ones again."""
    import base64

    secret = base64.b32encode(key).decode().rstrip("=")
    assert password(secret, step) == password(secret, step)
    assert one_time_passwords._DIGITS.fullmatch(password(secret, step))
