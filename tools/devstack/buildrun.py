"""What BuildKit starts in runc's place: runc, with this machine's way to the package indexes handed over to the step.

A step trusts the certificates that this machine trusts (companies and test machines inspect TLS) and uses its proxy and
its index. All of it comes as variables of the running process and as a file below /dev, which is no part of any image:
nothing of it enters a layer, an image's configuration or a build's cache key.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_PLACE = "/dev/ca-certificates.crt"
_TRUST = ("NODE_EXTRA_CA_CERTS", "PIP_CERT", "SSL_CERT_FILE")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a step gets: the file `certificates` of this machine ("": none), and `variables`; `program` is runc."""

    program: str
    certificates: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For the script that BuildKit starts."""
        return asdict(self)


def amended(spec: dict[str, Any], given: Given) -> dict[str, Any]:
    """`spec` (the runtime's config.json) with `given`; a variable that image or Dockerfile sets stays as it is."""
    process = spec["process"]
    mounts, variables = list(spec.get("mounts") or ()), dict(given.variables)
    if given.certificates:
        mounts.append(
            {"destination": _PLACE, "type": "bind", "source": given.certificates, "options": ["rbind", "ro"]},
        )
        variables |= dict.fromkeys(_TRUST, _PLACE)
    present = {entry.partition("=")[0] for entry in process.get("env") or ()}
    added = [f"{name}={value}" for name, value in sorted(variables.items()) if name not in present]
    return spec | {"mounts": mounts, "process": process | {"env": [*(process.get("env") or ()), *added]}}


def main(argv: Sequence[str], given: Given) -> None:
    """Become runc; where it is to run a step, amend that step first."""
    words = list(argv[1:])
    if "--bundle" in words:
        file = Path(words[words.index("--bundle") + 1]) / "config.json"
        file.write_text(json.dumps(amended(json.loads(file.read_text()), given)))
    os.execv(given.program, [given.program, *words])  # noqa: S606 - no shell is wanted
