"""What an answer tells somebody who may not know: which names there are, which measurement a policy wants, what a
session says. The attacker is anybody who reaches a CAS's ports; what they hear must not depend on what is there.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from scone_provider.cas.identity import Identity
from scone_provider.errors import CasError, SconeError
from support.real_cas import RealCas

MEASUREMENT = "ab" * 32
WRONG = "00" * 32
TEXT = """\
name: {name}
version: "0.3.11"
access_policy: {{read: [CREATOR], update: [CREATOR], create_sessions: [{create}]}}
security: {{attestation: {{tolerate: [debug-mode]}}}}
secrets:
  - {{name: pin, kind: ascii, value: "{pin}", {export}}}
services:
  - {{name: main, command: prog, attestation: [{{mrenclave: {measurement}}}]}}
  - {{name: signed, command: prog, attestation: [{{signer: {{mrsigner: {measurement}, isvprodid: 1}}}}]}}
"""


def text(name: str, *, create: str = "NONE", pin: str = "1234", export: str = "export_public: false") -> str:
    return TEXT.format(name=name, create=create, pin=pin, export=export, measurement=MEASUREMENT)


def without(answer: Any, *names: str) -> str:
    """An answer as text, with one name in place of those that were asked for."""
    found = str(answer)
    for one in sorted(names, key=len, reverse=True):
        found = found.replace(one, "NAME")
    return found


def test_a_refused_attestation_tells_nothing_of_the_policy(cas: RealCas, ann: Identity, name: str) -> None:
    """Whoever knows a name hears neither what the policy expects nor whether there is such a policy."""
    cas.client(ann).upload(text(name))
    asked = [f"{name}/main", f"{name}/signed", f"{name}/none", f"{name}-none/main", "none", f"{name}/main@123456"]
    answers = [cas.enclave.attest(one, measurement=WRONG) for one in asked]
    assert MEASUREMENT not in str(answers)
    assert len({str(one) for one in answers}) == 1
    status, error = answers[0]
    assert (status, error["code"], error["found"]) == (403, "unexpected_measurement", WRONG)
    entries = [entry for entry in cas.audit_entries("service_refused") if entry["config_id"] == f"{name}/main"]
    assert entries[0]["expected"] == [MEASUREMENT]  # the operator's log does
    missing = [one for one in cas.audit_entries("service_refused") if one["config_id"] == f"{name}-none/main"]
    assert missing[0]["code"] == "unknown_service"


def test_who_brings_the_measurement_is_told_what_is_missing(cas: RealCas, ann: Identity, name: str) -> None:
    """A person's own mistake in the policy still has its own code, for the program that the policy is about."""
    cas.client(ann).upload(text(name).replace("debug-mode", "hyperthreading"))
    assert cas.enclave.attest(f"{name}/main", measurement=MEASUREMENT)[1]["code"] == "debug_not_tolerated"
    assert cas.enclave.attest(f"{name}/main", measurement=WRONG)[1]["code"] == "unexpected_measurement"


def test_refusing_takes_as_long_for_a_name_that_is_not_there(cas: RealCas, ann: Identity, name: str) -> None:
    """Medians over alternating requests, after the first: a client cannot tell them by the time they take."""
    cas.client(ann).upload(text(name))
    took: dict[str, list[float]] = {f"{name}/main": [], f"{name}-none/main": []}
    for number in range(120):
        for one, times in took.items():
            began = time.perf_counter()
            cas.enclave.attest(one, measurement=WRONG)
            if number >= 20:
                times.append(time.perf_counter() - began)
    there, missing = (statistics.median(times) for times in took.values())
    assert abs(there - missing) < 0.25 * max(there, missing) + 0.0003


ROUTES = (
    "/session/{}",
    "/v1/sessions/{}",
    "/v1/sessions/{}?hash=" + WRONG,
    "/v1/session_hashes/{}",
    "/v1/sessions?namespace={}",
    "/v1/values/session={}",
    "/v1/values/session={},secret=pin",
)


@pytest.fixture
def anybody(cas: RealCas) -> Iterator[httpx.Client]:
    """Sends requests without a client certificate."""
    with httpx.Client(base_url=f"https://127.0.0.1:{cas.port}", verify=False) as client:  # noqa: S501 - an attacker
        yield client


@pytest.mark.parametrize("route", ROUTES)
def test_names_cannot_be_tried_anonymously(
    cas: RealCas, ann: Identity, anybody: httpx.Client, name: str, route: str
) -> None:
    """Each route answers alike for a session that is there, for one that is not, and for one below either."""
    cas.client(ann).upload(text(name))
    names = [name, f"{name}-none", f"{name}/none", f"{name}-none/none"]
    answers = [anybody.get(route.format(one)) for one in names]
    told = {(one.status_code, without(one.text, *names)) for one in answers}
    assert len(told) == 1, told
    assert answers[0].status_code in (403, 404)


def test_names_cannot_be_tried_by_who_may_not_create_there(
    cas: RealCas, ann: Identity, bob: Identity, name: str
) -> None:
    """Neither by reading nor by uploading: below somebody else's namespace all names are answered alike."""
    cas.client(ann).upload(text(name))
    stranger = cas.client(bob)
    told = set()
    for one in (f"{name}/a", f"{name}/a/b"):
        with pytest.raises(CasError) as caught:
            stranger.upload(text(one))
        told.add(without(caught.value.what, one, one.rpartition("/")[0], name))
    assert len(told) == 1, told


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except SconeError as problem:
        return problem.what
    return "done"


@pytest.mark.parametrize("kept", ["namespace_hash", "session_hash"])
def test_a_hash_cannot_be_guessed_by_who_may_not_read(
    cas: RealCas, ann: Identity, bob: Identity, name: str, kept: str
) -> None:
    """A PIN in a session: a right and a wrong guess of the session's hash get one answer, where it has no salt."""
    right = cas.client(ann).upload(text(name, create="ANY", export="export_public: true"))
    told = set()
    for number, guess in enumerate((right, WRONG)):
        if kept == "namespace_hash":
            attempt = f'name: {name}/try{number}\nversion: "0.3.11"\nnamespace_hash: {guess}\n'
        else:
            wanted = f"{{session: {name}, secret: pin, session_hash: {guess}}}"
            attempt = (
                f'name: {name}/try{number}\nversion: "0.3.11"\n'
                f"secrets: [{{name: pin, kind: ascii, import: {wanted}}}]\n"
            )
        said = outcome(partial(cas.client(bob).upload, attempt))
        told.add(without(said, f"{name}/try{number}"))
        assert outcome(partial(cas.client(ann).upload, attempt)) == "done" or guess == WRONG
    assert len(told) == 1, told
    assert "done" not in told
