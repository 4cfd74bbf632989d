"""`pulumi-scone review`: what a preview changes in who is trusted with what, for people, tools and gates."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from scone_policy.errors import SconeError
from scone_policy.syntax.yaml_source import load
from scone_provider.commands.files import UsageError, text_of
from scone_provider.review.collect import Review, review
from scone_provider.review.document import SCHEMA, as_document, as_entry, as_sarif
from scone_provider.review.finding import Direction, Finding
from scone_provider.review.markdown import markdown
from scone_provider.review.preview import MOST_CHARACTERS, read_preview

FORMATS = ("markdown", "json", "sarif", "schema")
FAILED = 1
"""The preview itself had failed."""
GATED = 3
"""`--fail-on` names the direction of a change that `--allow` does not accept."""
_ACCEPTED_BY = ("resource", "path", "before", "after")
_MAY_STAND = frozenset({*_ACCEPTED_BY, "direction", "meaning", "service", "place", "digest", "reason"})


def run(
    file: str,
    *,
    form: str,
    fail_on: str,
    allow: str | None,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Write the review of a preview's JSON (`-`: standard input). Returns 0, FAILED or GATED.

    Raises SconeError for what is no preview, UsageError for a wrong `fail_on` or a file that cannot be read.
    """
    if form == "schema":
        tell(json.dumps(SCHEMA, indent=2))
        return 0
    gates = _gates(fail_on)
    accepted = _accepted(allow) if allow is not None else []
    text = sys.stdin.read(MOST_CHARACTERS + 1) if file == "-" else text_of(file, limit=MOST_CHARACTERS)
    found = review(read_preview(text))
    tell(_written(found, form))
    if found.errors:
        return FAILED
    stopped = [one for one in found.findings if one.direction in gates and not _is_accepted(one, accepted)]
    for one in stopped:
        warn(f"{one.direction}: {one.resource}: {one.path or one.meaning}")
    return GATED if stopped else 0


def _written(found: Review, form: str) -> str:
    if form == "markdown":
        return markdown(found).removesuffix("\n")
    if form == "json":
        return json.dumps(as_document(found), indent=2, ensure_ascii=False, sort_keys=True)
    return json.dumps(as_sarif(found, version=version("pulumi-scone")), indent=2, ensure_ascii=False)


def _gates(names: str) -> set[Direction]:
    known = {str(one): one for one in Direction}
    given = [name.strip() for name in names.split(",") if name.strip()]
    wrong = [name for name in given if name not in known]
    if wrong:
        raise UsageError(f"--fail-on {wrong[0]}: one of {', '.join(known)}")
    return {known[name] for name in given}


def _accepted(file: str) -> list[Mapping[str, Any]]:
    """Entries as `--format json` prints them: a list in YAML or JSON, each for one change with these very values."""
    found = load(text_of(file), file=file).data
    if not isinstance(found, list):
        raise SconeError("no list", where=file, fix="list findings as `--format json` prints them")
    for number, entry in enumerate(found):
        where = f"{file}: [{number}]"
        if not isinstance(entry, Mapping) or not set(_ACCEPTED_BY) <= set(entry):
            raise SconeError(f"needs {', '.join(_ACCEPTED_BY)}", where=where, fix="copy the finding out of the JSON")
        unknown = sorted(map(str, set(entry) - _MAY_STAND))
        if unknown:
            raise SconeError(f"{unknown[0]} is not known", where=where, fix="write what is for people under `reason`")
    return found


def _is_accepted(one: Finding, accepted: Sequence[Mapping[str, Any]]) -> bool:
    entry = as_entry(one)
    keys = (*_ACCEPTED_BY, *(("digest",) if "digest" in entry else ()))
    return any(all(key in given and given[key] == entry[key] for key in keys) for given in accepted)
