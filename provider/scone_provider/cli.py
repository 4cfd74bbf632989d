"""`pulumi-scone`: what people and machines do beside `pulumi` itself."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from scone_cas.server.options import ServeOptions, add_serve_options
from scone_policy.errors import SconeError
from scone_provider.commands.files import UsageError
from scone_provider.process import keep_memory

_BUILDER = "another toolchain's builder, as scone:builder of a stack: any build.kind is in order; it is not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 after an error that was printed, 2 on wrong usage, 141 when nobody reads on."""
    parsed = _parser().parse_args(arguments)
    keep_memory()
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
    except UsageError as error:
        print(f"pulumi-scone: {error}", file=sys.stderr)
        return 2
    except SconeError as error:
        print(f"pulumi-scone: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it ends
        return 141
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pulumi-scone", description="SCONE confidential applications as Pulumi resources."
    )
    parser.add_argument("--version", action="version", version=f"pulumi-scone {version('pulumi-scone')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    identity = commands.add_parser("identity", help="the key pair that CAS knows you by, and the image key")
    create = identity.add_subparsers(required=True, metavar="ACTION").add_parser(
        "create", help="make both where they are missing, as secrets of a Pulumi stack"
    )
    create.add_argument("--stack", help="default: the selected stack")
    create.add_argument("--config-file", help="the stack's settings file, where it is not the usual one")
    create.set_defaults(run=_identity_create)

    cas = commands.add_parser("cas", help="the embedded CAS")
    serve = cas.add_subparsers(required=True, metavar="ACTION").add_parser("serve", help="run it in the foreground")
    add_serve_options(serve)
    serve.set_defaults(run=_cas_serve)

    audit = commands.add_parser("audit", help="the audit log of the embedded CAS")
    verify = audit.add_subparsers(required=True, metavar="ACTION").add_parser(
        "verify", help="is it complete, unbroken and of the right CAS (docs/audit-log.md tells the exit codes)"
    )
    verify.add_argument(
        "files",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="audit.log, files before it, or a folder with them; copies too",
    )
    verify.add_argument("--key", metavar="HASH", help="the CAS's key hash")
    verify.add_argument("--last", metavar="NUMBER:SIGNATURE", help="an entry that must be there, as printed earlier")
    verify.add_argument("--json", action="store_true", help="print the verdict as JSON")
    verify.set_defaults(run=_audit_verify)

    _add_offline(commands)
    return parser


def _add_offline(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser("check", help="judge service manifests, Meshfiles and sessions, offline")
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="value of a variable $NAME")
    check.add_argument("--builder", metavar="COMMAND", help=_BUILDER)
    check.add_argument("--json", action="store_true", help="print one JSON object: findings by file")
    check.set_defaults(run=_check)

    derive = commands.add_parser("derive", help="print the sessions that a mesh would upload")
    derive.add_argument("mesh", metavar="MESHFILE")
    derive.add_argument(
        "--manifest",
        action="append",
        default=[],
        metavar="FILE",
        help="a service manifest of the mesh; may be repeated (default: those beside the Meshfile)",
    )
    derive.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="value of a variable $NAME; may be repeated"
    )
    derive.add_argument(
        "--owner", action="append", default=[], metavar="KEYHASH", help="may read and update them, too; may be repeated"
    )
    derive.add_argument(
        "--catalogue", action="append", default=[], metavar="FOLDER", help="a folder with curated services of your own"
    )
    derive.add_argument("--builder", metavar="COMMAND", help=_BUILDER)
    derive.add_argument("--release", default="release", help="name of the Helm release (default: %(default)s)")
    derive.set_defaults(run=_derive)

    review = commands.add_parser("review", help="say what a preview changes in who is trusted with what")
    review.add_argument("file", nargs="?", default="-", metavar="FILE", help="of `pulumi preview --json`; default: -")
    review.add_argument("--format", choices=("markdown", "json", "sarif", "schema"), default="markdown")
    review.add_argument(
        "--fail-on",
        default="",
        metavar="DIRECTIONS",
        help="end with 3 when something widens, regenerates, restarts, narrows, changes (separated by commas)",
    )
    review.add_argument("--allow", metavar="FILE", help="findings that were accepted, as `--format json` prints them")
    review.set_defaults(run=_review)

    schema = commands.add_parser("schema", help="print a JSON Schema for editors")
    schema.add_argument("document", nargs="?", choices=("session", "service", "mesh"), default="session")
    schema.set_defaults(run=_schema)


def _identity_create(parsed: argparse.Namespace) -> int:
    from scone_provider.stack.secrets import create_stack_secrets  # noqa: PLC0415  keeps --help quick

    create_stack_secrets(stack=parsed.stack, config_file=parsed.config_file, tell=print)
    return 0


def _cas_serve(parsed: argparse.Namespace) -> int:
    from scone_cas.server.supervisor import serve  # noqa: PLC0415  keeps --help quick

    serve(ServeOptions.parse(parsed))
    return 0


def _audit_verify(parsed: argparse.Namespace) -> int:
    from scone_provider.commands.audit import verify_files  # noqa: PLC0415  keeps --help quick

    return verify_files(parsed.files, cas_key=parsed.key, known=parsed.last, as_json=parsed.json, tell=print)


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _check(parsed: argparse.Namespace) -> int:
    from scone_provider.commands import check  # noqa: PLC0415  keeps --help quick

    return check.run(
        parsed.files,
        variables=parsed.set,
        as_json=parsed.json,
        tell=print,
        warn=_warn,
        builder=parsed.builder,
    )


def _derive(parsed: argparse.Namespace) -> int:
    from scone_provider.commands import derive  # noqa: PLC0415  keeps --help quick

    return derive.run(
        parsed.mesh,
        manifest_files=parsed.manifest,
        catalogue=parsed.catalogue,
        variables=parsed.set,
        owners=parsed.owner,
        release=parsed.release,
        tell=print,
        warn=_warn,
        builder=parsed.builder,
    )


def _review(parsed: argparse.Namespace) -> int:
    from scone_provider.commands import review  # noqa: PLC0415  keeps --help quick

    return review.run(
        parsed.file,
        form=parsed.format,
        fail_on=parsed.fail_on,
        allow=parsed.allow,
        tell=print,
        warn=_warn,
    )


def _schema(parsed: argparse.Namespace) -> int:
    from scone_provider.commands import schema  # noqa: PLC0415  keeps --help quick

    return schema.run(parsed.document, tell=print)
