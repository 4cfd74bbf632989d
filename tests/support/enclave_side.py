"""The enclave port of a CAS without ports, at a time of day that the test sets."""

import json
from datetime import UTC, datetime
from typing import Any

from scone_cas.api.enclave import EnclaveApi
from scone_cas.api.http import Request
from support.software_enclave import Lease, SoftwareEnclave

NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())


class EnclaveSide:
    """What services see of `cas`, which has a store, sessions, and parts. `now` is Unix time."""

    def __init__(self, cas: Any) -> None:
        self.now = NOON
        parts = cas.parts
        self.api = EnclaveApi(
            cas.store,
            cas.sessions,
            parts.challenges,
            parts.journal,
            clock=lambda: datetime.fromtimestamp(self.now, tz=UTC),
        )

    def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """Status and answer; `body` is bytes, or a value to be written as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.api.handle(Request(method="POST", path=path, body=content, address="192.0.2.7"))
        return answer.status, json.loads(answer.body)

    def attest(self, config_id: str, enclave: SoftwareEnclave | None = None, **changes: Any) -> tuple[int, Any]:
        """200 and the configuration, or the refusal."""
        enclave = enclave or SoftwareEnclave()
        _, challenge = self.post("/v1/enclave/challenge", {"protocol": 1})
        request = enclave.request(challenge["challenge"], config_id, **changes)
        status, answer = self.post("/v1/enclave/attest", request)
        return (status, enclave.open(answer)) if status == 200 else (status, answer["error"])

    def code(self, config_id: str, enclave: SoftwareEnclave | None = None, **changes: Any) -> str:
        """`ok`, or the code of the refusal."""
        status, found = self.attest(config_id, enclave, **changes)
        return "ok" if status == 200 else str(found["code"])

    def keeper(self, config_id: str, **changes: Any) -> tuple[Lease, dict[str, Any]]:
        """An enclave that keeps file systems: its lease, and its configuration."""
        status, found = self.attest(config_id, accepts=["volumes"], **changes)
        assert status == 200, found
        return Lease(self.post, found["lease"]), found

    def volume(self, config_id: str, path: str) -> dict[str, Any]:
        """A volume of a service as it is delivered now."""
        _, found = self.keeper(config_id)
        (volume,) = [each for each in found["volumes"] if each["path"] == path]
        return dict(volume)
