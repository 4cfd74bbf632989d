"""Making the two secrets of a stack, `scone:identity` and `scone:imageKey`: once, on purpose, never seen by anyone."""

import base64
import datetime as dt
import secrets
import shutil
import subprocess
from collections.abc import Callable

from scone_provider.cas.identity import Identity
from scone_provider.errors import SconeError

_IDENTITY = "scone:identity"
_SECONDS = 60


def create_stack_secrets(*, stack: str | None, config_file: str | None, tell: Callable[[str], None]) -> None:
    """Make what is missing and store it through the Pulumi CLI, values on its standard input only.

    What is there is kept: another image key would make every image and every file-system key new. `tell` gets a line
    for each, that of the identity with its key hash, which names it in access policies and as an owner. Raises
    SconeError.
    """
    options = (["--stack", stack] if stack else []) + (["--config-file", config_file] if config_file else [])
    makers: dict[str, Callable[[], str]] = {_IDENTITY: _new_identity, "scone:imageKey": _new_image_key}
    for key, make in makers.items():
        value = _pulumi(["config", "get", key, *options], check=False)
        done = "kept"
        if value is None:
            value, done = make(), "made and stored as a secret of the stack"
            _pulumi(["config", "set", "--secret", key, *options], stdin=value)
        known_by = f"; its key hash is {Identity.parse(value, where=key).key_hash}" if key == _IDENTITY else ""
        tell(f"{key}: {done}{known_by}")


def _new_identity() -> str:
    identity = Identity.create(common_name="pulumi-scone", now=dt.datetime.now(dt.UTC))
    return identity.to_pem()


def _new_image_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _pulumi(arguments: list[str], *, stdin: str = "", check: bool = True) -> str | None:
    program = shutil.which("pulumi")
    if program is None:
        raise SconeError("the Pulumi CLI is not on the PATH", fix="install it, or run this through `make`")
    try:
        done = subprocess.run(  # noqa: S603  a fixed program and our own options
            [program, *arguments, "--non-interactive"],
            input=stdin,
            text=True,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SconeError(f"`pulumi {arguments[0]} {arguments[1]}` gave no answer in {_SECONDS} s") from None
    if done.returncode == 0:
        return done.stdout
    if not check and "not found" in done.stderr:
        return None
    reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    raise SconeError(
        f"`pulumi {' '.join(arguments[:2])}` failed: {reason[0]}",
        fix="select a stack (`pulumi stack select`) and give its passphrase, then run this again",
    )
