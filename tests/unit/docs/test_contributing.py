"""What CONTRIBUTING.md tells a newcomer is where it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("## Where is …?")[2].partition("\n## ")[0].splitlines()
    if "](" in line
]


def test_the_table_is_there() -> None:
    """Eight things that a newcomer looks for first have a row each."""
    assert len(ROWS) == len({question for question, *_ in ROWS}) == 8


@pytest.mark.parametrize(("question", "where", "names"), ROWS, ids=[row[0] for row in ROWS])
def test_answers_are_where_the_table_says(question: str, where: str, names: str) -> None:
    """Each file exists under the path that is shown, and defines what the row names."""
    files = re.findall(r"\[([^]]+)\]\(([^)]+)\)", where)
    assert files, question
    assert [path for shown, path in files if path != f"provider/{shown}"] == []
    code = "\n".join((ROOT / path).read_text() for _, path in files)
    definition = r"^(?:class|def|func|func \([^)]*\)) {}\b"
    found = re.findall(r"`(\w+)`", names)
    assert found, question
    assert [name for name in found if not re.search(definition.format(name), code, re.MULTILINE)] == []


def test_paths_exist() -> None:
    """Every file and folder that the page names in its text exists."""
    named = set(re.findall(r"`((?:tests|tools|docs|provider|components|examples|bench)/[\w./-]*)`", TEXT))
    assert "tests/unit/layout/test_layers.py" in named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_links_lead_somewhere() -> None:
    """Every relative link names a file or folder of this repository."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert [link for link in links if not (ROOT / link).exists()] == []
