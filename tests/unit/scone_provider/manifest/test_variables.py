"""Shell variables in manifests: what is replaced, what stays, and that no value leaves its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.syntax.holes import Holes
from scone_provider.errors import ManifestError
from scone_provider.manifest.variables import IN_PROGRAM, ON_COMMAND_LINE, read, read_inner


def replaced(text: str, **variables: str) -> Any:
    """The data of a document with its variables replaced."""
    document, problems = read(text, file="f.yaml", variables=variables)
    assert problems == []
    return document.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A", "x"),
        ("${A}", "x"),
        ("$A/b:${A}1", "x/b:x1"),
        ("'$A'", "x"),
        ('"$A"', "x"),
        ("$$SCONE::A$$", "$$SCONE::A$$"),
        ("$$SCONE::pw-${A}$$", "$$SCONE::pw-x$$"),
        ("'$$SCONE::$A$$-$A'", "$$SCONE::x$$-x"),
        ("[$$SCONE::${A}-$A:hex|escape(json)$$]", ["$$SCONE::x-x:hex|escape(json)$$"]),
        ('"$$SCONE::{{ A }}-$A$$"', "$$SCONE::{{A}}-x$$"),
        (r"$$SCONE::\$A$$", "$$SCONE::$A$$"),
        ('"$$A"', "$$A"),
        ('"!#what!$#"', "!#what!$#"),
        ("$1 $ $-", "$1 $ $-"),
        ("{{A}}", "{{A}}"),
        ('"{{ A }}:$A"', "{{A}}:x"),
        (r"\$A", "$A"),
        (r"\${A}/$A", "${A}/x"),
        (r'"\$A \${A}"', "$A ${A}"),
        (r"'\$UNKNOWN'", "$UNKNOWN"),
        (r"{b: \${A}}", {"b": "${A}"}),
        (r"\\$A", r"\\x"),
        (r"\$1 \$$ \$", r"\$1 \$$ \$"),
        (r"\$$SCONE::A$$", r"\$$SCONE::A$$"),
        ("| # $UNKNOWN\n  Host \\$host;", "Host $host;\n"),
        ("$$SCONE::s$$$A", "$$SCONE::s$$x"),
        ("| # $UNKNOWN\n  $A\n  b", "x\nb\n"),
    ],
)
def test_what_counts_as_a_variable(text: str, value: object) -> None:
    """Names are replaced as a shell does, in placeholders too, unless a backslash says no; the mesh's are not."""
    assert replaced(f"a: {text}\n", A="x") == {"a": value}


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_a_value_never_leaves_its_scalar(value: str) -> None:
    """Quotes, colons, comments and line breaks in a value cannot add a key or end a string."""
    assert replaced("a: $V\nb: '$V'\nc: [\"x${V}y\"]\n", V=value) == {"a": value, "b": value, "c": [f"x{value}y"]}


def test_a_hole_passes() -> None:
    """A value that is not known yet travels as its token."""
    hole = Holes().punch(object())
    assert replaced("a: $V:1\n", V=hole) == {"a": f"{hole}:1"}


def test_every_missing_variable_is_named_with_its_line() -> None:
    """All of them at once; a variable that stands in a comment needs no value."""
    _, problems = read("a: 1 # $COMMENT\nb:\n  - $ONE\n  - ${TWO}$ONE\n", file="f.yaml", variables={})
    assert [(problem.path, problem.rule) for problem in problems] == [
        (("b", 0), "the variable $ONE has no value"),
        (("b", 1), "the variable $TWO has no value"),
        (("b", 1), "the variable $ONE has no value"),
    ]


@pytest.mark.parametrize(("hint", "way"), [(IN_PROGRAM, 'variables={"ONE": …}'), (ON_COMMAND_LINE, "--set ONE=…")])
def test_a_missing_variable_names_the_way_to_give_it(hint: str, way: str) -> None:
    """A program gives it otherwise than the command line, and a text that looks like one can be written, too."""
    _, (problem,) = read("a: $ONE\n", file="f.yaml", variables={}, hint=hint)
    assert problem.fix == f"Give it: {way}. The text $ONE itself is written \\$ONE."


def test_yaml_inside_of_yaml() -> None:
    """A text that is YAML itself keeps the mesh's variables, bare ones too; a $ in it is just that."""
    assert read_inner("a: {{ x }}\nb: [{{y}}, $A]\n").data == {"a": "{{x}}", "b": ["{{y}}", "$A"]}


def test_lines_are_kept() -> None:
    """A value of several lines does not move what stands below it, and replaced keys are found."""
    document, _ = read("a: $V\n$K: 2\n", file="f.yaml", variables={"V": "1\n2\n3", "K": "key"})
    assert document.where(("key",)) == "f.yaml:2: key"


def test_private_marks_cannot_be_forged() -> None:
    """The character that stands for variables while YAML is read is refused in the text."""
    with pytest.raises(ManifestError, match="private use"):
        read("a: \ue0000\ue000 $V", file="f.yaml", variables={"V": "x"})
