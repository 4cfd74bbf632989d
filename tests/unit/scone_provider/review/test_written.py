"""A review as Markdown, JSON and SARIF: whatever stands in a value, it stays a value."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.review.collect import Review, review
from scone_provider.review.document import SCHEMA, as_document, as_sarif
from scone_provider.review.markdown import LIMIT, code, markdown
from scone_provider.review.preview import read_preview
from support.preview_json import preview, step

HOSTILE = [
    "\n# heading",
    "```\n@everyone",
    "</details>",
    "<script>alert(1)</script>",
    "`",
    "` x `",
    "[a](http://b)",
    "| a |",
    "\x1b[31m",
    "\u202egnp",
    "::set-output",
    ":+1:",
    "![i](x)",
    "  ",
    "\r\n- [ ] task",
    "~~~",
]


def hostile(text: str) -> Review:
    """A review in which every text that a pull request decides is this one."""
    service = {"image": text, "policy_digest": text, "service": text, "where": f"{text}:1"}
    policy = {"name": text, "services": {text: {"command": text, "environment": {text: text}}}}
    steps = [
        step("SecurityPolicy", text.replace("::", ":"), {"policy": {"name": text}}, {"policy": policy}),
        step("Rollout", "r", {"services": {text: service}}, {"services": {text: service | {"image": "other"}}}),
        step("ConfidentialImage", "i", {"files": {}}, {"files": {text: text}, text: text}),
    ]
    messages = [{"severity": kind, "message": f"{kind}: {text}"} for kind in ("warning", "error")]
    return review(read_preview(preview(*steps, diagnostics=messages)))


def assert_is_harmless(comment: str) -> None:
    """Every line is one that we write; outside of code spans stands no mark, mention, link or HTML of a value's."""
    fixed = re.compile(r"(?:### |\*\*|- |</?details>|<details><summary>|$|Beside these)")
    for line in comment.split("\n"):
        assert fixed.match(line), line
        if line.startswith(("<details>", "</details>")):
            continue
        rest = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        rest = re.sub(r"&#\d+;|\*\*(?=[^*]*\*\*)|^### |^- ", "", rest)
        assert not re.search(r"[`<>@\[\]|~]", rest), line


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_ends_a_block_or_speaks(text: str) -> None:
    """Markup, mentions, folds and control characters of a value are shown, and do nothing."""
    assert_is_harmless(markdown(hostile(text)))


@given(st.text(max_size=60), st.integers(min_value=300, max_value=3_000))
def test_any_text_is_harmless_and_fits(text: str, limit: int) -> None:
    """The same for any text, and at any length of a comment."""
    comment = markdown(hostile(text), limit=limit)
    assert len(comment) <= limit
    if comment.count("\n") > 1:
        assert comment.count("<details>") == comment.count("</details>")


def test_a_long_review_says_what_was_left_out() -> None:
    """What matters most is kept; the rest is counted."""
    policy = {"services": {f"s{n:04}": {"command": "x" * 150} for n in range(2_000)}}
    steps = [step("SecurityPolicy", "p", {"policy": {"name": "n"}}, {"policy": policy | {"name": "n"}})]
    comment = markdown(review(read_preview(preview(*steps))))
    assert LIMIT - 1_000 < len(comment) <= LIMIT
    left = int(re.findall(r"(\d+) more left out", comment)[0])
    assert left + comment.count("one more program") == 2_000


def test_code_spans_hold_what_they_are_given() -> None:
    """Backticks inside, and at the ends, by CommonMark's rule for code spans."""
    assert code("a") == "`a`"
    assert code("a`b") == "``a`b``"
    assert code("`a") == "`` `a ``"
    assert code("a\nb") == "`a\\u000ab`"


@pytest.mark.parametrize("text", ["plain", *HOSTILE])
def test_json_keeps_to_its_schema(text: str) -> None:
    """The document is what the published schema says, and the same for the same input."""
    document = as_document(hostile(text))
    jsonschema.validate(json.loads(json.dumps(document)), SCHEMA)
    assert document == as_document(hostile(text))


def test_sarif_points_at_the_line() -> None:
    """A finding with a place has file and line; its level tells what is serious; rules are named once."""
    found = as_sarif(hostile("api"), version="1")
    (run,) = found["runs"]
    results: list[dict[str, Any]] = run["results"]
    assert {one["ruleId"] for one in results} == {one["id"] for one in run["tool"]["driver"]["rules"]}
    placed = [one for one in results if one["locations"]]
    assert placed
    where = placed[0]["locations"][0]["physicalLocation"]
    assert where == {"artifactLocation": {"uri": "api"}, "region": {"startLine": 1}}
    assert {one["level"] for one in results if one["ruleId"] == "widens"} == {"error"}
