"""Where a CAS is: the url that names it, and the address in whose stead something else is connected to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

PORT = 8081
"""The port of a CAS for its clients, where none is given."""
_HOST = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]"
_ADDRESS = re.compile(rf"(?P<host>{_HOST})(:(?P<port>[0-9]{{1,5}}))?")


@dataclass(frozen=True, kw_only=True)
class HostPort:
    """Host (an IPv6 address without brackets) and port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, port: int = PORT) -> "HostPort":
        """From `host`, `host:port` or `https://host[:port]`. Raises ValueError."""
        match = _ADDRESS.fullmatch(text.strip().removeprefix("https://").removesuffix("/"))
        if match is None or not 0 < int(match["port"] or port) < 65536:
            raise ValueError("must be host, host:port or https://host:port")
        return cls(host=match["host"].strip("[]"), port=int(match["port"] or port))

    def mapped(self, connect_to: Mapping[str, str]) -> "HostPort":
        """What to connect to. Keys are `host` or `host:port` (which wins), values `host` (the port stays) or both.

        Raises ValueError.
        """
        target = connect_to.get(str(self), connect_to.get(str(self).rpartition(":")[0]))
        return self if target is None else HostPort.parse(target, port=self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
