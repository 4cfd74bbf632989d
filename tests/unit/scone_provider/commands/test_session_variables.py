"""`check` of a session with variables: what they fill; what stays open is named with the way to give it."""

from pathlib import Path

import pytest

from scone_provider.cli import main

HEX = "ab" * 32
SESSION = """\
name: $NS/app
version: "0.3"
predecessor: $P
services:
  - name: s
    mrenclaves: [${M}]
    environment: {A: $$SCONE::pw-${ID}$$}
secrets: [{name: pw-1, kind: ascii}]
"""
ALL = ["NS=team", "P=", f"M={HEX}", "ID=1"]


def checked(folder: Path, text: str, *given: str) -> int:
    """The exit code of `check` of one document with these variables."""
    (folder / "x.yaml").write_text(text)
    return main(["check", str(folder / "x.yaml"), *(word for one in given for word in ("--set", one))])


@pytest.mark.parametrize("none", ["P=", "P=~", "P=null", 'P=""', f"P={HEX}"])
def test_variables_are_filled(tmp_path: Path, none: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also inside of a placeholder, and none of the spellings of no predecessor is a broken one."""
    assert checked(tmp_path, SESSION, *ALL, none) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("given", [[], ["NS=team"], ALL[:3]])
@pytest.mark.parametrize("text", [SESSION, SESSION.replace("[${M}]", "[$M]")])
def test_each_open_variable_is_named(
    tmp_path: Path, given: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether any was given or none, and whether the text is YAML before it is filled or not."""
    assert checked(tmp_path, text, *given) == 1
    said = capsys.readouterr().out
    names = {one.partition("=")[0] for one in given}
    for name in ("NS", "P", "M", "ID"):
        assert (f"--set {name}=" in said) == (name not in names)


def test_errors_and_open_variables_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has no value yet does not hide what is wrong anyway."""
    assert checked(tmp_path, SESSION.replace("kind: ascii", "kind: asci"), "NS=team") == 1
    said = capsys.readouterr().out
    assert "--set M=" in said
    assert "secrets.pw-1.kind" in said


def test_what_stays_open_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where any text may stand, a variable that nobody gave is a warning; a backslash says that it is meant."""
    text = f'name: a\nversion: "0.3"\nservices: [{{name: s, mrenclaves: [{HEX}], command: echo $HOME}}]\n'
    assert checked(tmp_path, text) == 0
    said = capsys.readouterr().out
    assert "services[0].command: warning: $HOME stands here as it is" in said
    assert "--set HOME=" in said


@pytest.mark.parametrize(("given", "way"), [([], "--set SECRETS=…"), (["SECRETS=x"], "envsubst")])
def test_a_section_is_no_value(tmp_path: Path, given: list[str], way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable in the place of a section makes no YAML, and the message says which one and what helps."""
    assert checked(tmp_path, 'name: a\nversion: "0.3"\n$SECRETS\n', *given) == 1
    said = capsys.readouterr().out
    assert "not valid YAML" in said
    assert way in said
