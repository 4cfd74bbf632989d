"""Tenants with large sessions: what is kept of them is bounded by its bytes, and reading them is nobody else's wait."""

import gc
import json
import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scone_cas.api.http import Request
from scone_cas.keystore.unseal import sealer
from scone_cas.registry.snapshots import SnapshotCache
from scone_cas.secrets.pending import PendingFetch
from scone_cas.server.assembly import CasComponents, assemble, initialise
from scone_cas.storage.database import Store
from support.software_enclave import MEASUREMENT, SoftwareEnclave

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_MIB = 1024 * 1024
_PUBLIC = "access_policy: {read: [ANY], update: [ANY], create_sessions: [ANY]}\n"
_TESTING = "security: {attestation: {tolerate: [debug-mode]}}\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state of a CAS."""
    initialise(tmp_path / "state", now=_NOW, random=os.urandom(32))
    return tmp_path / "state"


def large(name: str, *, services: int) -> bytes:
    """A session with so many services."""
    entries = "".join(
        f"- {{name: s{n}, command: x y z, attestation: {{mrenclave: {MEASUREMENT}}}}}\n" for n in range(services)
    )
    return f"name: {name}\nversion: '0.3.12'\n{_PUBLIC}{_TESTING}services:\n{entries}".encode()


def upload(parts: CasComponents, body: bytes) -> None:
    answer = parts.client_api.handle(Request(method="POST", path="/session", body=body))
    assert answer.status == 201, answer.body[:300]


def test_memory_is_bounded_by_bytes(state: Path) -> None:
    """Ten large sessions are read in turn: what is kept stays below its limit, as the memory itself shows."""
    parts = assemble(state, clock=lambda: _NOW)
    for number in range(10):
        upload(parts, large(f"n{number}", services=1_000))
    limit = 8 * _MIB
    cache = SnapshotCache(Store(state, sealer(state, None)), memory=limit)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(10):
            assert cache.find(f"n{number}") is not None
            assert cache.memory <= limit
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * limit
    assert cache.memory > limit // 8


def test_one_that_is_larger_than_all_room_can_be_used(state: Path) -> None:
    """A session that takes more than the whole cache is still found, and at once the second time."""
    upload(assemble(state, clock=lambda: _NOW), large("n", services=500))
    cache = SnapshotCache(Store(state, sealer(state, None)), memory=1000)
    with pytest.raises(PendingFetch) as waiting:
        cache.at_once("n")
    waiting.value.ask()
    assert cache.at_once("n") is not None


def test_reading_a_large_session_keeps_nobody_waiting(state: Path) -> None:
    """The first attestation of a large session is put off to a thread, before its challenge is used; a small is not."""
    parts = assemble(state, clock=lambda: _NOW)
    upload(parts, large("large", services=1_000))
    upload(parts, large("small", services=1))
    api = assemble(state, clock=lambda: _NOW).enclave_api

    def attest(name: str) -> bytes:
        asked = api.handle(Request(method="POST", path="/v1/enclave/challenge", body=b'{"protocol": 1}'))
        return json.dumps(SoftwareEnclave().request(json.loads(asked.body)["challenge"], f"{name}/s0")).encode()

    small, body = attest("small"), attest("large")
    assert api.begin(Request(method="POST", path="/v1/enclave/attest", body=small))[0].status == 200
    with pytest.raises(PendingFetch) as waiting:
        api.begin(Request(method="POST", path="/v1/enclave/attest", body=body))
    waiting.value.ask()
    assert api.begin(Request(method="POST", path="/v1/enclave/attest", body=body))[0].status == 200
