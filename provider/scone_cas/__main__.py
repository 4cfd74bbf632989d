"""`python -m scone_cas serve`: the command line of the embedded CAS, and of the two processes that `serve` starts."""

import argparse
import sys

from scone_cas.keystore.unseal import UnsealedKeys
from scone_cas.process import keep_memory
from scone_cas.server.options import ServeOptions, add_serve_options, add_shared_options
from scone_cas.server.supervisor import serve
from scone_policy.errors import SconeError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 after an error in words."""
    options = _parser().parse_args(arguments)
    keep_memory()
    try:
        _run(options)
    except SconeError as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    # Each process loads what its own port needs: Twisted, granian, or neither.
    if options.command == "client-port":
        from scone_cas.server import client_port  # noqa: PLC0415

        client_port.serve(
            options.state,
            listening=options.listening,
            alive=options.alive,
            rate=options.rate,
            unlocked=_unlocked(options),
        )
    elif options.command == "enclave-port":
        from scone_cas.server import enclave_port  # noqa: PLC0415

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
        serve(ServeOptions.parse(options))


def _unlocked(options: argparse.Namespace) -> UnsealedKeys | None:
    return UnsealedKeys.from_descriptor(options.unlocked) if options.unlocked is not None else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scone_cas", description="The embedded CAS.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_serve_options(commands.add_parser("serve", help="serve both ports until SIGTERM"))
    common = argparse.ArgumentParser(add_help=False)
    add_shared_options(common)
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
