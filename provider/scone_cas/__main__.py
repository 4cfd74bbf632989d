"""`python -m scone_cas serve`: the command line of the embedded CAS, and of the two processes that `serve` starts."""

import argparse
import sys
from pathlib import Path

from scone_cas.entra_settings import EntraSettings, add_entra_options
from scone_cas.key_store_settings import read_settings
from scone_cas.peer_settings import PeerSettings, add_peer_options
from scone_cas.server import CLIENT_PORT, ENCLAVE_PORT, ServeOptions, serve
from scone_cas.unlocked import Unlocked
from scone_policy.errors import SconeError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 after an error in words."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except SconeError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    # Each process loads what its own port needs: Twisted, granian, or neither.
    if options.command == "client-port":
        from scone_cas import client_port  # noqa: PLC0415

        client_port.serve(
            options.state,
            listening=options.listening,
            alive=options.alive,
            rate=options.rate,
            unlocked=_unlocked(options),
        )
    elif options.command == "enclave-port":
        from scone_cas import enclave_port  # noqa: PLC0415

        enclave_port.serve(
            options.state,
            host=options.host,
            port=options.port,
            workers=options.workers,
            alive=options.alive,
            rate=options.rate,
            unlocked=_unlocked(options),
        )
    else:
        serve(
            ServeOptions(
                state=options.state,
                host=options.host,
                client_port=options.client_port,
                enclave_port=options.enclave_port,
                workers=options.workers,
                rate=options.rate,
                audit_log=options.audit_log,
                entra=EntraSettings.parse(options),
                key_store=read_settings(options.config) if options.config is not None else None,
                peers=PeerSettings.parse(connect_to=options.connect_to, trusted_peers=options.trusted_peer),
            )
        )


def _unlocked(options: argparse.Namespace) -> Unlocked | None:
    return Unlocked.from_descriptor(options.unlocked) if options.unlocked is not None else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scone_cas", description="The embedded CAS.")
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = ServeOptions(state=Path())
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state", type=Path, required=True, help="directory of the store and its key; made if missing")
    common.add_argument("--host", default=defaults.host, help="address to listen on (%(default)s)")
    common.add_argument("--rate", type=float, default=defaults.rate, help="requests a second from one address")
    serving = commands.add_parser("serve", parents=[common], help="serve both ports until SIGTERM")
    serving.add_argument("--client-port", type=int, default=CLIENT_PORT, help="0: a free one (%(default)s)")
    serving.add_argument("--enclave-port", type=int, default=ENCLAVE_PORT, help="0: a free one (%(default)s)")
    serving.add_argument("--workers", type=int, default=defaults.workers, help="enclave port (%(default)s)")
    serving.add_argument("--no-audit-log", dest="audit_log", action="store_false", help="record nothing in audit.log")
    add_entra_options(serving)
    serving.add_argument("--config", metavar="FILE", type=Path, help="its key store: docs/key-stores.md (none)")
    add_peer_options(serving)
    client = commands.add_parser("client-port", parents=[common], help="started by serve")
    client.add_argument("--listening", type=int, required=True)
    client.add_argument("--alive", type=int, required=True)
    client.add_argument("--unlocked", type=int)
    enclave = commands.add_parser("enclave-port", parents=[common], help="started by serve")
    enclave.add_argument("--port", type=int, required=True)
    enclave.add_argument("--workers", type=int, required=True)
    enclave.add_argument("--alive", type=int, required=True)
    enclave.add_argument("--unlocked", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
