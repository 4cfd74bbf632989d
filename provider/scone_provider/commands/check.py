"""`pulumi-scone check`: says offline what is wrong with service manifests, Meshfiles and sessions, and where."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from scone_policy.errors import SconeError
from scone_policy.model.session import Session
from scone_policy.rules.check import check as check_session
from scone_policy.rules.check import written_problems
from scone_policy.rules.warnings import cautions
from scone_policy.syntax.holes import Holes
from scone_policy.syntax.problems import Problem, refuse
from scone_policy.syntax.yaml_source import Document, load
from scone_provider.commands.files import OpenVariables, assignments, command_words, text_of
from scone_provider.derive.variable_substitution import filled_mesh
from scone_provider.errors import ManifestError
from scone_provider.manifest import Mesh, ServiceManifest
from scone_provider.manifest import cautions as known
from scone_provider.manifest.foreign import KINDS, SORTS, foreign, foreign_text
from scone_provider.manifest.load import judged
from scone_provider.manifest.overrides import judge_alone
from scone_provider.manifest.unsupported import Toolchain
from scone_provider.manifest.variables import (
    MARK,
    ON_COMMAND_LINE,
    ReadVariables,
    left,
    load_unfilled,
    name_left,
    read,
)

_SESSION_KEYS = frozenset(Session.model_fields)
_PLACE = re.compile(r"(?P<file>.*?):(?P<line>[0-9]+)(?:: (?P<path>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One broken rule. `line` is 1 where the whole document is meant; `path` is empty there.

    `severity` is `error`, or `warning` for what breaks no rule but is better known.
    """

    file: str
    line: int
    path: str
    rule: str
    fix: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.path}: " if self.path else f"{self.file}:{self.line}: "
        place += "warning: " if self.severity == "warning" else ""
        return f"{place}{self.rule}" + (f" → {self.fix}" if self.fix else "")


def run(
    files: Sequence[str],
    *,
    variables: Sequence[str],
    as_json: bool,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    builder: str | None = None,
) -> int:
    """Check every file, tell what was found. Returns 0, or 1 when a rule is broken. Raises UsageError.

    `builder`: the command of another toolchain, with which every `build.kind` is in order; it is not run. `warn` is
    told of values that no file asks for.
    """
    given = ReadVariables(assignments(variables))
    toolchain: Toolchain = "vendor" if command_words(builder) else "embedded"
    texts = {file: text_of(file) for file in files}
    found = {file: findings(text, file=file, variables=given, toolchain=toolchain) for file, text in texts.items()}
    for sentence in given.unread(ON_COMMAND_LINE):
        warn(f"warning: {sentence}")
    if as_json:
        tell(json.dumps({file: [asdict(one) for one in some] for file, some in found.items()}, ensure_ascii=False))
    else:
        for some in found.values():
            for one in some:
                tell(str(one))
    return 1 if any(one.severity == "error" for some in found.values() for one in some) else 0


def findings(text: str, *, file: str, variables: Mapping[str, str], toolchain: Toolchain = "embedded") -> list[Finding]:
    """What is wrong with one document, in its order, or what to warn of; empty when nothing is."""
    try:
        warnings = _judge(text, file, variables, toolchain)
    except SconeError as error:
        return [_finding(part, file) for part in error.parts or (error,)]
    found = [replace(_finding(part, file), severity="warning") for part in warnings]
    return sorted(found, key=lambda one: one.line)


def _judge(text: str, file: str, variables: Mapping[str, str], toolchain: Toolchain) -> Sequence[SconeError]:
    """Warnings. Raises SconeError for what breaks a rule."""
    document, missing = _document(text, file, variables)
    data = document.data
    keys = set(data) if isinstance(data, Mapping) else set()
    kind = data.get("kind") if isinstance(data, Mapping) else None
    other = foreign(data)
    if other is not None:
        raise ManifestError(other.what, where=document.where((other.key,)), fix=other.fix)
    if kind in KINDS and MARK in text:
        _opened(text, file, variables)  # refuses it
    if kind == "mesh":
        mesh = judged(Mesh, document, missing=missing)
        return warnings_of(filled_mesh(mesh, release=Holes().punch("release")))
    if kind == "genservice":
        return warnings_of(judged(ServiceManifest, document, toolchain=toolchain, missing=missing))
    if "apiVersion" in keys:
        raise ManifestError("a manifest's kind is mesh or genservice", where=document.where(("kind",)), fix=SORTS)
    if not _SESSION_KEYS & keys:
        if judge_alone(document):
            return ()
        what = "the document is empty" if data is None else "this is no service manifest, no Meshfile and no session"
        raise ManifestError(what, where=f"{file}:1", fix=SORTS)
    return _judge_session(text, file, variables)


def warnings_of(manifest: Mesh | ServiceManifest) -> list[SconeError]:
    """What to warn of in a manifest that breaks no rule, each with its place."""
    return [ManifestError(one.rule, where=manifest.where(*one.path), fix=one.fix) for one in known.cautions(manifest)]


def _document(text: str, file: str, variables: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """The document, of whatever sort it is, and what is wrong with its variables.

    Raises SconeError when it is no YAML, or says that it is another tool's.
    """
    try:
        if MARK in text:
            return load(text, file=file), []
        # The text alone may be no YAML yet: a variable of the mesh needs no quotes.
        return _opened(text, file, variables)
    except SconeError as error:
        if other := foreign_text(text):
            raise ManifestError(other.what, where=error.where, fix=other.fix) from None
        raise


def _opened(text: str, file: str, variables: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """The document in which any other variable than these is a value that is not known yet."""
    return read(text, file=file, variables=OpenVariables(variables), hint=ON_COMMAND_LINE)


def _judge_session(text: str, file: str, variables: Mapping[str, str]) -> Sequence[SconeError]:
    missing: Sequence[Problem] = ()
    if variables:
        document, missing = read(text, file=file, variables=variables, hint=ON_COMMAND_LINE)
    else:
        document = load_unfilled(text, file=file, hint=ON_COMMAND_LINE)
    session, problems = check_session(document)
    if session is not None:
        problems += written_problems(session)
    if not variables:
        problems = name_left(problems, document, ON_COMMAND_LINE)
    if missing or problems or session is None:
        raise refuse([*missing, *problems], document)
    found = [*cautions(session), *(() if variables else left(document, ON_COMMAND_LINE))]
    warning = refuse(found, document) if found else None
    return () if warning is None else warning.parts or (warning,)


def _finding(error: SconeError, file: str) -> Finding:
    match = _PLACE.fullmatch(error.where)
    if match is None:
        path = error.where.removeprefix(file).removeprefix(": ")
        return Finding(file=file, line=1, path=path, rule=error.what, fix=error.fix)
    path = match["path"] or ""
    return Finding(file=match["file"], line=int(match["line"]), path=path, rule=error.what, fix=error.fix)
