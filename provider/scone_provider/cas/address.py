"""Where a CAS is: its url as the Meshfile names it, and the address that is really connected to."""

from collections.abc import Mapping
from dataclasses import dataclass

from scone_policy.syntax.cas_address import HostPort
from scone_provider.errors import CasError


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
        try:
            named = HostPort.parse(cas_url)
        except ValueError:
            raise _no_address("cas_url") from None
        try:
            place = named.mapped(connect_to)
        except ValueError:
            raise _no_address("scone:connectTo") from None
        return cls(url=cas_url, host=place.host, port=place.port)

    @property
    def base(self) -> str:
        """`https://host:port`."""
        return f"https://{HostPort(host=self.host, port=self.port)}"


def _no_address(where: str) -> CasError:
    return CasError("this is not the address of a CAS", where=where, fix="write host, host:port or https://host:port")
