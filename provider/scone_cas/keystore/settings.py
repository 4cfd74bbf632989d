"""The configuration of a CAS's key store: a PKCS#11 token, and which of its objects stand for what."""

import os
import stat
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from scone_policy.errors import SconeError
from scone_policy.syntax.names import session_name
from scone_policy.syntax.problems import Problem, problems_of, refuse
from scone_policy.syntax.yaml_source import MAX_BYTES, load

_LONGEST_PIN = 255
_FIX = "see docs/key-stores.md"


def _named(text: str) -> str:
    session, slash, secret = text.rpartition("/")
    if not slash or not secret:
        raise ValueError("a secret is named <session>/<secret>")
    session_name(session)
    return text


def _label(text: str) -> str:
    if not text.isprintable() or len(text.encode()) > 255:
        raise ValueError("a label has at most 255 bytes, all of them printable")
    return text


Label = Annotated[str, Field(min_length=1), AfterValidator(_label)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Pkcs11(_Model):
    """A token: the module (library) that speaks for it, its label, and where its user PIN is read from."""

    module: Path
    token: Label
    pin_file: Path | None = None
    pin_env: str | None = None

    @model_validator(mode="after")
    def _one_pin(self) -> Self:
        if (self.pin_file is None) == (self.pin_env is None):
            raise ValueError("give the PIN's place: either pin_file or pin_env")
        if not self.module.is_absolute():
            raise ValueError("module must be an absolute path")
        return self


class HeldSecret(_Model):
    """The object that stands for a secret. A private key leaves the token only with `deliver`, and if it can."""

    object: Label
    kind: Literal["ascii", "binary", "private-key"]
    deliver: bool = False

    @model_validator(mode="after")
    def _only_keys(self) -> Self:
        if self.deliver and self.kind != "private-key":
            raise ValueError("deliver is for private keys: other secrets are always delivered")
        return self


class KeyStoreSettings(_Model):
    """What a configuration file says. Secrets are named `<session>/<secret>`."""

    pkcs11: Pkcs11
    sealing_key: Label | None = None
    identity: Label | None = None
    secrets: dict[Annotated[str, AfterValidator(_named)], HeldSecret] = {}

    @model_validator(mode="after")
    def _own_keys(self) -> Self:
        own = {self.sealing_key, self.identity} - {None}
        for name, secret in self.secrets.items():
            if secret.object in own:
                raise ValueError(f"secrets.{name}: the object is a key of the CAS itself, which no session may use")
        return self


def read_settings(path: Path) -> KeyStoreSettings:
    """The settings in a YAML file; a relative pin_file is relative to it. Raises SconeError with file and line."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise SconeError(f"the configuration cannot be read: {reason}", where=str(path)) from None
    document = load(text, file=str(path), error=SconeError)
    try:
        found = KeyStoreSettings.model_validate(document.data)
    except ValidationError as error:
        problems = [Problem(path=one.path, rule=one.rule, fix=one.fix or _FIX) for one in problems_of(error)]
        raise refuse(problems, document, one=SconeError, many=SconeError) from None
    if found.pkcs11.pin_file is None:
        return found
    token = found.pkcs11.model_copy(update={"pin_file": path.absolute().parent / found.pkcs11.pin_file})
    return found.model_copy(update={"pkcs11": token})


def read_pin(token: Pkcs11) -> str:
    """The user PIN. Raises SconeError when it is not there, or when others may read its file."""
    if token.pin_env is not None:
        pin = os.environ.get(token.pin_env, "")
        if not pin:
            raise SconeError("the variable that pin_env names is not set", where=token.pin_env, fix="set it to the PIN")
        return _checked(pin, token.pin_env)
    path = token.pin_file
    assert path is not None
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST_PIN + 2)
    except OSError as problem:
        raise SconeError(f"the PIN cannot be read: {problem.strerror}", where=str(path)) from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise SconeError("others may read the file with the PIN", where=str(path), fix=f"chmod 600 {path}")
    try:
        return _checked(content.decode().removesuffix("\n"), str(path))
    except UnicodeDecodeError:
        raise SconeError("the PIN is not UTF-8 text", where=str(path)) from None


def _checked(pin: str, where: str) -> str:
    if not pin or "\n" in pin or "\0" in pin or len(pin.encode()) > _LONGEST_PIN:
        raise SconeError(f"this is no PIN: it must be one line of 1 to {_LONGEST_PIN} bytes", where=where)
    return pin
