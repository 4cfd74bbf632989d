"""Manifests from files or from typed arguments, read relative to the program."""

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, get_args, get_origin

import pulumi

from pulumi_scone._arguments import NativeStageArgs
from pulumi_scone._outputs import Outputs, is_later
from scone_policy.errors import SconeError
from scone_policy.syntax.holes import has_hole
from scone_provider.derive.pipeline import IN_PYTHON
from scone_provider.file_errors import file_problem
from scone_provider.image.oci.reference import parse_reference
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service
from scone_provider.manifest.outputs import INSTEAD, NOT_AN_OUTPUT, refuse_outputs
from scone_provider.manifest.unsupported import Toolchain
from scone_provider.stack.production import SETTING, Places, is_production, refuse_testing

_LIMIT = 1 << 20
_Text = pulumi.Input[str]
_Texts = Sequence[pulumi.Input[str]]


def read_mesh(
    file: str | None, content: Mapping[str, Any] | None, variables: Mapping[str, str], values: Outputs
) -> Mesh:
    """The Meshfile, from exactly one of `file` and `content`. Raises SconeError."""
    if (file is None) == (content is None):
        raise SconeError("give either mesh_file or mesh", fix="mesh_file is a path, mesh the same content in Python")
    source = read_text(file) if file is not None else values.hide(_map(content, "mesh"))
    return load_mesh(source, file=file or IN_PYTHON, variables=variables, look=partial(refuse_outputs, kind="mesh"))


def read_manifest(
    file: str | None,
    content: Mapping[str, Any] | None,
    variables: Mapping[str, str],
    values: Outputs,
    *,
    builder: Sequence[str] = (),
) -> tuple[ServiceManifest, str]:
    """A service manifest and the folder that its `copy` is relative to, from exactly one of `file` and `content`.

    With a `builder` of another toolchain, kinds that only that one knows are in order.
    """
    toolchain: Toolchain = "vendor" if builder else "embedded"
    load = partial(
        load_service, variables=variables, toolchain=toolchain, look=partial(refuse_outputs, kind="genservice")
    )
    if (file is None) == (content is None):
        raise SconeError(
            "give either manifest_file or manifest", fix="manifest_file is a path, manifest the same content in Python"
        )
    if file is not None:
        return load(read_text(file), file=file), str(Path(file).parent)
    content = _map(content, "manifest")
    build = content.get("build")
    name = build.get("name") if isinstance(build, Mapping) else None
    file = f"<manifest {name}>" if isinstance(name, str) else "<manifest>"
    return load(values.hide(content), file=file), "."


def builder_words(args: Mapping[str, Any]) -> list[str]:
    """The command of the builder, from the arguments or the stack's `scone:builder`; empty: this package builds."""
    where = "builder.command"
    words: object = (args.get("builder") or {}).get("command")
    if words is None:
        where = "scone:builder"
        words = pulumi.Config("scone").get(where.partition(":")[2])
        if not words:
            return []
        try:
            words = json.loads(str(words))
        except ValueError:
            words = None
    if is_later(words) or (isinstance(words, list | tuple) and any(map(is_later, words))):
        raise SconeError(NOT_AN_OUTPUT, where=where, fix=INSTEAD)
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise SconeError(
            "this is no list of words",
            where=where,
            fix='pulumi config set scone:builder \'["python3", "builder.py"]\'',
        )
    return list(words)


def is_for_production() -> bool:
    """Whether the stack says so of itself."""
    prefix, _, key = SETTING.partition(":")
    return is_production(pulumi.Config(prefix).get(key))


def refuse_in_production(places: Places) -> None:
    """Raise SconeError for what is only for testing, where the stack is for production."""
    if is_for_production():
        refuse_testing(places)


def check_arguments(args: object, kind: type) -> None:
    """Raise SconeError when a component's `args` are no map, or hold what the TypedDict `kind` does not know.

    Texts, numbers, switches and lists of texts are judged here; maps by those who read them.
    """
    for key, value in _map(args, "args").items():
        _check_known(key, kind.__annotations__, where=kind.__name__.removesuffix("Args"))
        check_type(value, kind.__annotations__[key], where=key)


def check_keywords(**given: object) -> None:
    """Raise SconeError for an argument of a resource that is not of its type; those with these names are known."""
    for key, value in given.items():
        if _KEYWORDS[key] is Mapping and value is not None:
            _map(value, key)
        check_type(value, _KEYWORDS[key], where=key)


def check_type(value: object, wanted: object, *, where: str) -> None:
    """Raise SconeError where an argument is not of the type that its annotation wants, `NotRequired` or not."""
    wanted = get_args(wanted)[0] if get_origin(wanted) is NotRequired else wanted
    if value is None or wanted is Any:
        return
    if is_later(value) and wanted not in _INPUTS:
        raise SconeError(NOT_AN_OUTPUT, where=where, fix=INSTEAD)
    if wanted in _SETTINGS:
        for key, one in _map(value, where).items():
            _check_known(key, _SETTINGS[wanted], where=where)
            check_type(one, _SETTINGS[wanted][str(key)], where=f"{where}.{key}")
    if wanted not in _TYPES:
        return
    fits, words = _TYPES[wanted]
    if not fits(value):
        raise SconeError(f"this is no {words}, but a {type(value).__name__}", where=where, fix=f"give a {words}")


def _check_known(key: object, known: Mapping[str, object], *, where: str) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key), known, n=1)
        raise SconeError(
            f"unknown argument {str(key)[:80]!r}",
            where=where,
            fix=f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}",
        )


def _is_whole(value: object) -> bool:
    """The engine's wire knows floats only."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _is_text(value: object) -> bool:
    return isinstance(value, str) or is_later(value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(_is_text(item) for item in value)


_TYPES: Mapping[object, tuple[Callable[[object], bool], str]] = {
    str: (lambda value: isinstance(value, str), "plain text"),
    bool: (lambda value: isinstance(value, bool), "switch (True or False)"),
    int: (_is_whole, "whole number"),
    Sequence[str]: (_are_texts, "list of texts"),
    _Text: (_is_text, "text"),
    _Texts: (_are_texts, "list of texts"),
}
_INPUTS = (_Text, Any)
_KEYWORDS: Mapping[str, object] = {
    **dict.fromkeys(("policy_file", "mode", "file"), str),
    **dict.fromkeys(("adopt", "overlap"), bool),
    **dict.fromkeys(("url", "key", "recipient"), _Text),
    **dict.fromkeys(("cas", "policy", "tolerance"), Mapping),
}
_SETTINGS: Mapping[object, Mapping[str, object]] = {NativeStageArgs: NativeStageArgs.__annotations__}
"""Arguments that are sections of their own, which nobody else judges."""


def given_variables(args: Mapping[str, Any], values: Outputs, *, key: str = "variables") -> dict[str, str]:
    """The texts under `key`, Outputs among them as holes. Raises SconeError."""
    found = values.hide(_map(args.get(key) or {}, key))
    for name, value in found.items():
        if not isinstance(value, str):
            raise SconeError(
                f"this is a {type(value).__name__}", where=f"{key}.{name}", fix="give a text, or an Output"
            )
    return dict(found)


def files_of(args: Mapping[str, Any], key: str) -> list[str]:
    """The paths in the list under `key`. Raises SconeError."""
    found = args.get(key) or ()
    if not isinstance(found, list | tuple):
        found = [None]
    if any(is_later(file) for file in found):
        raise SconeError(NOT_AN_OUTPUT, where=key, fix=INSTEAD)
    if not all(isinstance(file, str) for file in found):
        raise SconeError("this is no list of paths", where=key, fix='give a list, such as ["service.yaml"]')
    return list(found)


def identity_of(to: str) -> str:
    """What names an image in key derivation: the repository path of `build.to` (docs/image-format.md, Keys)."""
    return parse_reference(to).repository


def hidden_identity(to: str, values: Outputs) -> str:
    """`identity_of`, also for a reference that is not known yet: then a hole."""
    return values.later(to, identity_of) if has_hole(to) else identity_of(to)


def _map(content: object, name: str) -> Mapping[str, Any]:
    if is_later(content):
        raise SconeError(NOT_AN_OUTPUT, where=name, fix=INSTEAD)
    if not isinstance(content, Mapping):
        raise SconeError(f"this is a {type(content).__name__}", where=name, fix="give a map")
    return content


def read_text(file: str) -> str:
    """The text of a file of at most 1 MiB, relative to the program. Raises SconeError."""
    path = Path(file)
    try:
        if path.stat().st_size > _LIMIT:
            raise SconeError(f"the file is larger than {_LIMIT} bytes", where=file, fix="is it the right file?")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SconeError("the file is not UTF-8 text", where=file, fix="is it the right file?") from None
    except (OSError, ValueError) as error:
        fix = "paths are relative to the folder of the Pulumi program" if isinstance(error, FileNotFoundError) else ""
        raise file_problem(error, "the file cannot be read", where=file, fix=fix) from None
