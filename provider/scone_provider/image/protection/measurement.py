"""The measurement of the software mode: what a policy expects as `mrenclave` (docs/image-format.md, "Measurement")."""

import hashlib
from dataclasses import dataclass

from scone_provider.image.oci.canonical_json import canonical_json


@dataclass(frozen=True, kw_only=True)
class MeasuredEnvironment:
    """The three variables that act before attestation, exactly as the container has them."""

    heap: str = ""
    stack: str = ""
    dlopen: str = "0"


def measure(*, launcher: str, program: str, loader: str, environment: MeasuredEnvironment) -> str:
    """64 hex digits. `launcher`, `program` and `loader` are SHA-256 in hex; `loader` is empty for a static program."""
    return hashlib.sha256(
        canonical_json(
            {
                "format": "pulumi-scone measurement v1",
                "launcher": launcher,
                "program": program,
                "loader": loader,
                "heap": environment.heap,
                "stack": environment.stack,
                "dlopen": environment.dlopen,
            },
        ),
    ).hexdigest()
