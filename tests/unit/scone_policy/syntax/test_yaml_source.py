"""YAML as the language takes it: positions, numbers, and documents meant to hurt."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from scone_policy.errors import PolicyError
from scone_policy.syntax.yaml_source import MAX_BYTES, Document, Number, load


def test_positions_are_found_by_index_and_by_name() -> None:
    """An error can name the line of a list item whether its path has the index or the item's name."""
    document = load("services:\n  - name: a\n  - name: b\n    command: x\n", file="s.yaml")
    assert document.where(("services", 1, "command")) == "s.yaml:4: services[1].command"
    assert document.where(("services", "b", "command")) == "s.yaml:4: services.b.command"


def test_unknown_parts_fall_back_to_what_is_known() -> None:
    """A missing key is reported at the line of the entry that lacks it."""
    document = load("services:\n  - name: a\n  - name: b\n", file="s.yaml")
    assert document.where(("services", "b", "command")) == "s.yaml:3: services.b.command"


def test_plain_data_has_paths_without_lines() -> None:
    """What comes from Python is located by its label and path."""
    assert Document(data={}, file="<services.api>").where(("build", "to")) == "<services.api>: build.to"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.10", "0.10"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("0x1F", "0x1F"),
        ("-5", "-5"),
    ],
)
def test_numbers_keep_their_text(text: str, value: str) -> None:
    """A version 0.10 is not 0.1: a number is what was written."""
    found = load(f"a: {text}").data
    assert found == {"a": value}
    assert isinstance(found["a"], Number)


@pytest.mark.parametrize("text", ["yes", "no", "on", "2001-01-01", "1:30", "0.3.10", "760M"])
def test_words_that_only_look_special_are_text(text: str) -> None:
    """YAML 1.1's booleans, dates and base-60 numbers are plain text, as they are to a CAS."""
    found = load(f"a: {text}").data
    assert found == {"a": text}
    assert not isinstance(found["a"], Number)


@pytest.mark.parametrize(("text", "value"), [("~", None), ("", None), ("null", None), ("true", True), ("False", False)])
def test_null_and_booleans(text: str, value: object) -> None:
    """The core schema's null and booleans are read as such, but not when quoted."""
    assert load(f"a: {text}").data == {"a": value}
    assert load(f"a: '{text}'").data == {"a": text}


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", ["f:3", "second time"], id="duplicate key"),
        pytest.param("a:\n  <<: {b: 1}\n", ["f:2", "merge keys"], id="merge key"),
        pytest.param("a: !akv x\n", ["f:1", "tags", "needs quotes"], id="tag"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", ["f:1", "tag"], id="python object"),
        pytest.param('a: "x\\0y"\n', ["f:1", "NUL"], id="escaped NUL"),
        pytest.param('"\\0hole:0\\0": 1\n', ["f:1", "NUL"], id="a forged hole as key"),
        pytest.param("a: x\x00y\n", ["not valid YAML"], id="raw NUL"),
        pytest.param("a: 1\n---\nb: 2\n", ["f:2", "second document"], id="two documents"),
        pytest.param("a: [1\n", ["not valid YAML"], id="not closed"),
        pytest.param("a: *b\n", ["b"], id="alias to nothing"),
        pytest.param("a: &a [*a]\n", ["a"], id="alias to itself"),
        pytest.param("? [a]\n: 1\n", ["f:1", "key"], id="list as key"),
        pytest.param("[" * 5_000, ["f:1"], id="deep nesting"),
        pytest.param(LAUGHS, ["more than"], id="alias bomb"),
        pytest.param("a: " + "x" * MAX_BYTES, ["1 MiB"], id="too large"),
    ],
)
def test_hostile_documents_are_refused_with_their_line(text: str, words: list[str]) -> None:
    """Each trick ends in one clear error with the place, quickly."""
    with pytest.raises(PolicyError) as caught:
        load(text, file="f")
    assert [word for word in words if word not in str(caught.value)] == []


def test_harmless_aliases_work() -> None:
    """An alias stands for the same value."""
    assert load("a: &x [1, 2]\nb: *x\n").data == {"a": ["1", "2"], "b": ["1", "2"]}


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!'\"|>%#~ \n\t\x00\ud800"), max_size=60))
@example("%YAML 9.9\n---\na")
@example("\ufeff")
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail in another way than with its own error."""
    with suppress(PolicyError):
        load(text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", min_size=1), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_reads_what_a_yaml_library_writes(tree: object) -> None:
    """Data written by PyYAML comes back as it was."""
    assert load(yaml.safe_dump(tree)).data == tree
