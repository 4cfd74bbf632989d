"""Reading what Pulumi prints: strictly, within limits, and with words for what is no preview."""

import json

import pytest

from scone_policy.syntax.holes import has_hole
from scone_provider.errors import PreviewError
from scone_provider.review.preview import read_preview
from support.preview_json import UNKNOWN, preview, step


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no JSON"),
        ("pulumi: command not found", "no JSON"),
        ("[]", "no list of steps"),
        ("{", "no JSON"),
        ("{}", "no list of steps"),
        ('{"steps": {}}', "no list of steps"),
        ('{"steps": [1]}', "a step without urn and op"),
        ('{"steps": [{"urn": 1, "op": "same"}]}', "a step without urn and op"),
        ('{"resourcePlans": {}}', "a saved plan"),
        ("[" * 100_000, "no list of steps|no JSON"),
        ('{"a":' * 100_000, "no JSON"),
    ],
)
def test_what_is_no_preview(text: str, what: str) -> None:
    """An error that says what is wrong and what to give instead."""
    with pytest.raises(PreviewError, match=what) as caught:
        read_preview(text)
    assert "pulumi preview --json" in caught.value.fix


def test_paths_are_read_key_by_key() -> None:
    """A key with dots, brackets and quotes is one key."""
    text = preview(step("Rollout", "r", {"a": 1}, {"a": 2}, paths=['files["/a.b/c[0]"]', 'a.b[3]["x\\"y"].c']))
    assert read_preview(text).steps[0].paths == (("a", "b", "3", 'x"y', "c"), ("files", "/a.b/c[0]"))


def test_unknown_values_and_hidden_inputs() -> None:
    """What is not known yet is a hole; what Pulumi keeps for itself (`__provider`) is left out."""
    (found,) = read_preview(preview(step("Rollout", "r", {}, {"a": [UNKNOWN], "__provider": "x"}))).steps
    assert has_hole(found.new["a"])
    assert "__provider" not in found.new


def test_text_around_the_json_is_left_out() -> None:
    """Warnings that the CLI prints before, and messages that a shell adds behind, do not matter."""
    text = preview(step("Rollout", "r", {}, {"a": 1}))
    assert read_preview(f"warning: old\n{text}\n--- messages") == read_preview(text)
    assert json.loads(text)["steps"]
