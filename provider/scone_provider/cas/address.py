"""Where a CAS is: its url as the Meshfile names it, and the address that is really connected to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scone_provider.errors import CasError

PORT = 8081
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._\-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")


@dataclass(frozen=True, kw_only=True)
class CasAddress:
    """`url` as written; `host` and `port` to connect to (an IPv6 host without brackets)."""

    url: str
    host: str
    port: int

    @classmethod
    def parse(cls, cas_url: str, connect_to: Mapping[str, str]) -> "CasAddress":
        """From `host`, `host:port` or `https://host[:port]`, mapped by `connect_to`. Raises CasError.

        Keys of `connect_to` are `host` or `host:port` (which wins), values `host` (the port stays) or `host:port`.
        """
        host, port = _split(cas_url, PORT, "cas_url")
        target = connect_to.get(f"{host}:{port}", connect_to.get(host))
        if target is not None:
            host, port = _split(target, port, "scone:connectTo")
        return cls(url=cas_url, host=host.strip("[]"), port=port)

    @property
    def base(self) -> str:
        """`https://host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def _split(text: str, port: int, where: str) -> tuple[str, int]:
    rest = text.strip().removeprefix("https://").removesuffix("/")
    match = re.fullmatch(rf"(?P<host>{_HOST.pattern})(:(?P<port>[0-9]{{1,5}}))?", rest)
    if match is None or not 0 < int(match["port"] or port) < 65536:
        raise CasError(
            "this is not the address of a CAS", where=where, fix="write host, host:port or https://host:port"
        )
    return match["host"], int(match["port"] or port)
