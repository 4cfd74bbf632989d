"""Attestations that are shared for a while: by whom, how long, and what is never shared."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from cryptography import x509

from scone_provider.cas.address import CasAddress
from scone_provider.cas.attest import Attested
from scone_provider.cas.attestation_cache import LIFETIME, AttestationCache
from scone_provider.cas.identity import Identity
from scone_provider.errors import TrustError

KEY = (CasAddress(url="cas", host="cas", port=8081), "-G", None)


@pytest.fixture(scope="module")
def attested() -> Attested:
    """What an attestation gives."""
    made = Identity.create(common_name="cas", now=datetime(2026, 1, 1, tzinfo=UTC))
    certificate = x509.load_pem_x509_certificate(made.certificate_pem.encode())
    return Attested(certificate=certificate, key_hash=made.key_hash, evidence=None)


class Clock:
    """Seconds, set by hand."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Made:
    """Counts how often it is asked."""

    def __init__(self, found: Attested) -> None:
        self.times, self._found = 0, found

    def __call__(self) -> Attested:
        """Attest."""
        self.times += 1
        return self._found


def test_shared_until_it_is_old(attested: Attested) -> None:
    """One attestation serves until its life time is over, not a moment longer."""
    clock, made = Clock(), Made(attested)
    recent = AttestationCache(clock=clock)
    for clock.now in (0.0, LIFETIME - 0.1):
        assert recent.get(KEY, made) is attested
    assert made.times == 1
    clock.now = LIFETIME
    recent.get(KEY, made)
    assert made.times == 2


@pytest.mark.parametrize(
    "other",
    [
        (CasAddress(url="cas", host="cas", port=8082), "-G", None),
        (CasAddress(url="other", host="cas", port=8081), "-G", None),
        (KEY[0], "", None),
        (KEY[0], "-G", "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"),
    ],
)
def test_nothing_is_shared_under_other_conditions(attested: Attested, other) -> None:
    """Another address, url, switch or pin is attested by itself."""
    recent, made = AttestationCache(clock=Clock()), Made(attested)
    recent.get(KEY, made)
    recent.get(other, made)
    assert made.times == 2


def test_failures_are_not_kept(attested: Attested) -> None:
    """After a refusal the next one asks again; and an old attestation never covers a new refusal."""
    clock = Clock()
    recent, made = AttestationCache(clock=clock), Made(attested)

    def refuse() -> Attested:
        raise TrustError("no")

    with pytest.raises(TrustError):
        recent.get(KEY, refuse)
    recent.get(KEY, made)
    clock.now = LIFETIME
    with pytest.raises(TrustError):
        recent.get(KEY, refuse)
    with pytest.raises(TrustError):
        recent.get(KEY, refuse)


def test_forgotten_means_attested_anew(attested: Attested) -> None:
    """What was forgotten is made again."""
    recent, made = AttestationCache(clock=Clock()), Made(attested)
    recent.get(KEY, made)
    recent.forget(KEY)
    recent.get(KEY, made)
    assert made.times == 2


def test_threads_wait_for_one(attested: Attested) -> None:
    """Eight threads at once make one attestation, and all get it."""
    recent, made, barrier = AttestationCache(clock=Clock()), Made(attested), threading.Barrier(8)

    def work(_: int) -> Attested:
        barrier.wait()
        return recent.get(KEY, made)

    with ThreadPoolExecutor(8) as pool:
        assert set(map(id, pool.map(work, range(8)))) == {id(attested)}
    assert made.times == 1
