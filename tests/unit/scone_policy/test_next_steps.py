"""Every message of the session language says what to do now."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import scone_policy
from scone_policy import PolicyError, parse
from unit.scone_policy.model import test_language, test_session
from unit.scone_policy.rules import test_rules

FOLDER = Path(scone_policy.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
WITH_FIX = ("RuleError", "Problem", "at", "PolicyError", "matching", "members", "elements")
"""Calls that make a message, each with its next step."""
NO_DOCUMENT = {
    "keys/cas_certificate.py": "says what is wrong with a certificate, for errors of the CAS",
    "keys/key_hash.py": "a caller's mistake",
    "sealed/encrypted.py": "a caller's mistake",
    "syntax/cas_address.py": "says what is wrong with an address, for errors of those who read it",
    "syntax/strict_json.py": "says what is wrong with a message, for errors of those who read it",
}
"""Modules that raise ValueError for others than a document's author."""


def calls(module: Path) -> Iterator[tuple[str, int, ast.Call]]:
    """Every call in a module by the plain name of what is called."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno, node


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_message_is_made_with_its_next_step(module: Path) -> None:
    """No rule is raised without one: a plain ValueError has none, and the others take it by keyword."""
    name_of = module.relative_to(FOLDER).as_posix()
    without = [
        f"{name_of}:{line}: {name}"
        for name, line, call in calls(module)
        if name in WITH_FIX and "fix" not in {keyword.arg for keyword in call.keywords}
    ]
    plain = [f"{name_of}:{line}" for name, line, _ in calls(module) if name == "ValueError"]
    assert without == []
    assert bool(plain) == (name_of in NO_DOCUMENT), plain


def test_messages_are_looked_at() -> None:
    """The search finds what it is to judge, in every room."""
    found = [module for module in MODULES for name, _, _ in calls(module) if name in WITH_FIX]
    assert len(found) > 150
    assert {module.parent.name for module in found} >= {"syntax", "keys", "model", "rules", "sealed"}


REFUSED = [
    *((data, path) for data, path, _ in test_rules.REFUSED),
    *((data, path) for data, path, _ in test_language.REFUSED),
    *((data, path) for data, path, _ in test_session.REFUSED),
]


@pytest.mark.parametrize(("data", "path"), REFUSED, ids=[path for _, path in REFUSED])
def test_every_refusal_ends_with_a_next_step(data: dict[str, Any], path: str) -> None:
    """Whatever rule a document breaks, each error that a person reads has one, a sentence of its own."""
    with pytest.raises(PolicyError) as caught:
        parse(data)
    for error in caught.value.parts or (caught.value,):
        assert error.fix, f"{path}: {error}"
        assert error.fix[0].isupper()
        assert error.fix[-1] in ".?…"


BROKEN = [
    "a: [",
    "a: 1\na: 2\n",
    "<<: {}\n",
    "a: !x 1\n",
    "a: *b\n",
    "? [a]\n: 1\n",
    "a: 'x\x01'\n",
    "a: 1\n---\nb: 2\n",
]


@pytest.mark.parametrize("text", [*BROKEN, "[" * 100 + "]" * 100, "", "- a\n", 'a: "\\0"\n'])
def test_what_is_no_document_ends_with_a_next_step(text: str) -> None:
    """Also a text that is no YAML, or no session at all."""
    with pytest.raises(PolicyError) as caught:
        parse(text, file="f.yaml")
    assert all(error.fix for error in caught.value.parts or (caught.value,))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"digest": "create"}, "predecessor says"),
        ({"images": [{"name": "i", "mrenclaves": []}]}, "the service says"),
        ({"images": [{"name": "i", "tags": []}]}, "language 0.1"),
        ({"servcies": []}, "Did you mean services?"),
        ({"xyzzy": 1}, "Known here are access_policy, "),
    ],
)
def test_unknown_keys_say_which_are_known(data: dict[str, Any], words: str) -> None:
    """The nearest one, or all of them; keys of older versions by what took their place."""
    with pytest.raises(PolicyError) as caught:
        parse({"name": "a", "version": "0.3", **data})
    assert words in caught.value.fix
