"""Sealed policies as the chart brings them: objects that the cluster's operator uploads (section 10)."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from scone_policy.syntax.holes import has_hole
from scone_provider.manifest.mesh import SIGNED
from scone_provider.manifest.names import kubernetes_name

CLIENT_PORT = 8081
_FIRST = -100
_LONGEST = 40


def sealed_name(session: str, *, cas: str) -> str:
    """The object's name behind the release's: readable, and different for different sessions and CASes."""
    short = hashlib.sha256(f"{cas}\0{session}".encode()).hexdigest()[:8]
    return f"{kubernetes_name(session)[:_LONGEST].strip('-')}-{short}"


def sealed_values(session: str, *, mode: str, address: object, document: Mapping[str, Any]) -> dict[str, Any]:
    """The chart's values of one object; its hook weight puts a namespace before what is below it."""
    return {
        "kind": "SignedPolicy" if mode == SIGNED else "EncryptedPolicy",
        "casAddress": address,
        "weight": _FIRST + session.count("/"),
        **document,
    }


def client_address(cas_url: str) -> str:
    """`https://host:8081` of a CAS's client port, for which the Meshfile may name another one."""
    host = re.sub("^[a-z]+://", "", cas_url).partition("/")[0]
    has_port = has_hole(host) or re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:]+):[0-9]+", host)
    return f"https://{host}" if has_port else f"https://{host}:{CLIENT_PORT}"
