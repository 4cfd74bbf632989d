"""What the operator says about other CASes: where they are, and which of them may ask for whose secrets."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from scone_policy.errors import PolicyError, SconeError
from scone_policy.keys.key_hash import decode_key_hash
from scone_policy.syntax.cas_address import HostPort
from scone_policy.syntax.names import ROOT, session_name

PeerAddress = HostPort
"""Where to connect to."""


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """`connect_to`: `host` or `host:port` of a cas_url → the address in its stead. `trusted`: (key hash, namespace)."""

    connect_to: dict[str, str] = field(default_factory=dict)
    trusted: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, *, connect_to: Sequence[str] = (), trusted_peers: Sequence[str] = ()) -> "PeerSettings":
        """From `NAME=ADDRESS` and `KEY=NAMESPACE` texts, as options give them. Raises SconeError."""
        return cls(
            connect_to=dict(map(_mapped, connect_to)),
            trusted=tuple(map(_trusted, trusted_peers)),
        )

    @classmethod
    def from_json(cls, text: bytes) -> "PeerSettings":
        """What `to_json` wrote."""
        found = json.loads(text)
        return cls(connect_to=found["connect_to"], trusted=tuple((key, space) for key, space in found["trusted"]))

    def to_json(self) -> bytes:
        """For keeping."""
        return json.dumps({"connect_to": self.connect_to, "trusted": self.trusted}).encode()

    def place(self, cas_url: str) -> PeerAddress:
        """Where the CAS of this url is. A `host:port` entry wins over `host`, which keeps the port if it gives none.

        Raises ValueError.
        """
        return PeerAddress.parse(cas_url).mapped(self.connect_to)

    def trusts(self, key_hash: str, session: str) -> bool:
        """True when the CAS with this key may speak for this session: its name means the same on both."""
        return any(
            key == key_hash and (space == ROOT or f"{session}/".startswith(f"{space}/")) for key, space in self.trusted
        )


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """The options of a command line that `PeerSettings.parse` takes: `connect_to` and `trusted_peer`."""
    parser.add_argument(
        "--connect-to",
        action="append",
        default=[],
        metavar="HOST[:PORT]=ADDRESS[:PORT]",
        help="where another CAS is that sessions import from; may be repeated",
    )
    parser.add_argument(
        "--trusted-peer",
        action="append",
        default=[],
        metavar="KEYHASH=NAMESPACE",
        help="a CAS that may ask for what is exported to its sessions of that namespace; may be repeated",
    )


def _mapped(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    try:
        PeerAddress.parse(name)
        PeerAddress.parse(address)
    except ValueError:
        raise SconeError(
            f"'{text}' does not say where a CAS is", where="--connect-to", fix="write HOST[:PORT]=ADDRESS[:PORT]"
        ) from None
    return name, address


def _trusted(text: str) -> tuple[str, str]:
    key, _, namespace = text.partition("=")
    try:
        decode_key_hash(key)
        return key, session_name(namespace or None)
    except (PolicyError, ValueError):
        raise SconeError(
            f"'{text}' does not name a CAS and its namespace",
            where="--trusted-peer",
            fix="write KEYHASH=NAMESPACE, with / for all sessions",
        ) from None
