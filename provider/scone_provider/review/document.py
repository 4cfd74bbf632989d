"""A review as JSON for tools of the user's, its schema, and as SARIF for those that show findings beside the code."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from scone_policy.diff.change import UNKNOWN
from scone_policy.syntax.holes import has_hole
from scone_provider.review.collect import Review
from scone_provider.review.finding import Direction, Finding, shown

VERSION = 1
_TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Review of a Pulumi preview",
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "stack", "worst", "counts", "findings", "others", "errors", "warnings", "standing"],
    "properties": {
        "version": {"const": VERSION},
        "stack": _TEXT,
        "worst": {"enum": [str(one) for one in Direction]},
        "counts": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["direction", "resource", "path", "before", "after", "meaning", "service", "place"],
                "properties": {
                    "direction": {"enum": [str(one) for one in Direction]},
                    "resource": _TEXT,
                    "path": _TEXT,
                    "before": {"description": "null where nothing stood; [secret] and [unknown] stand for themselves"},
                    "after": {"description": "null where nothing stands any more"},
                    "meaning": _TEXT,
                    "service": _TEXT,
                    "place": {"type": "string", "description": "file:line, or empty"},
                    "digest": {"type": "string", "description": "of the new policy, where a value is hidden"},
                },
            },
        },
        "others": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["op", "resource"],
                "properties": {"op": _TEXT, "resource": _TEXT},
            },
        },
        "errors": {"type": "array", "items": _TEXT},
        "warnings": {"type": "array", "items": _TEXT},
        "standing": {"type": "array", "items": _TEXT},
    },
}
_LEVELS = {Direction.WIDENS: "error", Direction.REGENERATES: "error", Direction.RESTARTS: "note"}


def as_document(review: Review) -> dict[str, Any]:
    """The review as the schema describes it."""
    return {
        "version": VERSION,
        "stack": review.stack,
        "worst": str(review.worst),
        "counts": dict(review.counts),
        "findings": [as_entry(one) for one in review.findings],
        "others": [{"op": op, "resource": label} for op, label in review.others],
        "errors": list(review.errors),
        "warnings": list(review.warnings),
        "standing": list(review.standing),
    }


def as_entry(one: Finding) -> dict[str, Any]:
    """One finding; also the form in which it is accepted beforehand (`--allow`)."""
    entry: dict[str, Any] = {
        "direction": str(one.direction),
        "resource": one.resource,
        "path": one.path,
        "before": _value(one.before),
        "after": _value(one.after),
        "meaning": one.meaning,
        "service": one.service,
        "place": one.place,
    }
    return entry | ({"digest": one.digest} if one.digest else {})


def as_sarif(review: Review, *, version: str) -> dict[str, Any]:
    """SARIF 2.1.0: each change of trust at the line of the manifest that it comes from."""
    told = [one for one in review.findings if one.direction is not Direction.NEUTRAL]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "pulumi-scone", "version": version, "rules": _rules(told)}},
                "results": [_result(one) for one in told],
            }
        ],
    }


def _rules(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    found = {one.direction for one in findings}
    return [{"id": str(one), "name": str(one)} for one in Direction if one in found]


def _result(one: Finding) -> dict[str, Any]:
    sides = " → ".join(shown(side) for side in (one.before, one.after) if side is not None)
    text = f"{one.meaning}: {one.path} {sides}".rstrip(": ") + f" ({one.resource})"
    file, colon, line = one.place.rpartition(":")
    location: list[dict[str, Any]] = []
    if colon and line.isdecimal() and int(line) > 0:
        region = {"artifactLocation": {"uri": _uri(file)}, "region": {"startLine": int(line)}}
        location = [{"physicalLocation": region}]
    return {
        "ruleId": str(one.direction),
        "level": _LEVELS.get(one.direction, "warning"),
        "message": {"text": text},
        "locations": location,
    }


def _uri(file: str) -> str:
    return quote(file)


def _value(value: object) -> object:
    return UNKNOWN if has_hole(value) else value
