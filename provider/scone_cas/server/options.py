"""How a CAS is served: the options of `cas serve`, one set for `pulumi-scone` and for `python -m scone_cas`."""

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scone_cas.audit.rotation import DEFAULT_SIZE, SMALLEST_SIZE
from scone_cas.entra.settings import EntraSettings, add_entra_options
from scone_cas.federation.settings import PeerSettings, add_peer_options

if TYPE_CHECKING:
    from scone_cas.keystore.settings import KeyStoreSettings

_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How a CAS is served. Port 0 takes a free one; `rate` is requests a second from one address on each port,
    `start_time` seconds until both ports must serve.
    """

    state: Path
    host: str = "127.0.0.1"
    client_port: int = 8081
    enclave_port: int = 18765
    workers: int = 2
    rate: float = 2000.0
    start_time: float = 120.0
    audit_log: bool = True
    audit_log_size: int = DEFAULT_SIZE
    rollback_counter: Path | None = None
    accept_rollback: bool = False
    entra: EntraSettings = field(default_factory=EntraSettings)
    peers: PeerSettings = field(default_factory=PeerSettings)
    key_store: "KeyStoreSettings | None" = None

    @classmethod
    def parse(cls, options: argparse.Namespace) -> "ServeOptions":
        """From the options that `add_serve_options` added. Raises SconeError."""
        from scone_cas.keystore.settings import read_settings  # noqa: PLC0415  keeps --help quick

        return cls(
            state=options.state,
            host=options.host,
            client_port=options.client_port,
            enclave_port=options.enclave_port,
            workers=options.workers,
            rate=options.rate,
            start_time=options.start_time,
            audit_log=options.audit_log,
            audit_log_size=options.audit_log_size,
            rollback_counter=options.rollback_counter,
            accept_rollback=options.accept_rollback,
            entra=EntraSettings.parse(options),
            peers=PeerSettings.parse(connect_to=options.connect_to, trusted_peers=options.trusted_peer),
            key_store=read_settings(options.config) if options.config is not None else None,
        )


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """The options that `ServeOptions.parse` takes."""
    add_shared_options(parser)
    defaults = ServeOptions(state=Path())
    parser.add_argument(
        "--port",
        "--client-port",
        dest="client_port",
        metavar="PORT",
        type=int,
        default=defaults.client_port,
        help="client API; 0: a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--enclave-port",
        metavar="PORT",
        type=int,
        default=defaults.enclave_port,
        help="enclave API; 0: a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=defaults.workers, help="processes of the enclave port (default: %(default)s)"
    )
    parser.add_argument(
        "--start-time",
        metavar="SECONDS",
        type=float,
        default=defaults.start_time,
        help="until both ports must serve: more for a machine that is busy or slow (default: %(default)s)",
    )
    parser.add_argument("--no-audit-log", dest="audit_log", action="store_false", help="record nothing in audit.log")
    parser.add_argument(
        "--audit-log-size",
        metavar="SIZE",
        type=_file_size,
        default=defaults.audit_log_size,
        help="when audit.log is put aside and the next one begun: bytes, or as 64KiB, 16MiB, 1GiB (default: 16MiB)",
    )
    parser.add_argument(
        "--rollback-counter",
        metavar="FILE",
        type=Path,
        help="a file elsewhere that tells when an older state was restored: docs/security.md (default: none)",
    )
    parser.add_argument("--accept-rollback", action="store_true", help="start once on a state that the counter refuses")
    add_entra_options(parser)
    add_peer_options(parser)
    parser.add_argument("--config", metavar="FILE", type=Path, help="its key store: docs/key-stores.md (default: none)")


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """The options that the processes which `serve` starts take too."""
    defaults = ServeOptions(state=Path())
    parser.add_argument(
        "--state", metavar="FOLDER", type=Path, required=True, help="folder of its sealed store; made if missing"
    )
    parser.add_argument("--host", default=defaults.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--rate",
        type=float,
        default=defaults.rate,
        help="requests a second from one address, on each port (default: %(default)s)",
    )


def _file_size(text: str) -> int:
    found = re.fullmatch("([0-9]{1,15})(|KiB|MiB|GiB)", text)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if size < SMALLEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of at least {SMALLEST_SIZE // 1024}KiB")
    return size
