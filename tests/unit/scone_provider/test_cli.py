"""`pulumi-scone`: usage, exit codes, and errors in words."""

import argparse
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from scone_cas import __main__ as cas_cli
from scone_cas.server.options import ServeOptions
from scone_provider import cli
from scone_provider.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says the distribution's."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"pulumi-scone {version('pulumi-scone')}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for help finds all commands, each with a line."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    text = capsys.readouterr().out
    for command in ("identity", "cas"):
        assert re.search(rf"^ +{command} {{2,}}\S", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["identity"], ["cas"], ["cas", "serve"], ["nonsense"], ["--nonsense"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An incomplete or unknown command ends with 2 and its usage, and does nothing."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    assert "usage: pulumi-scone" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["--port", "--client-port"])
def test_both_command_lines_of_the_cas_take_the_same_options(port: str) -> None:
    """`pulumi-scone cas serve` and `python -m scone_cas serve` read one command line as the same options."""
    options = [
        "serve",
        "--state",
        "s",
        port,
        "0",
        "--enclave-port",
        "1",
        "--rate",
        "7",
        "--workers",
        "3",
        "--host",
        "::",
    ]
    options += ["--no-audit-log", "--connect-to", "a=b", "--entra-scope", "x"]
    found = [ServeOptions.parse(parser.parse_args(words)) for parser, words in _serving(options)]
    assert found[0] == found[1]
    assert (found[0].client_port, found[0].rate, found[0].audit_log) == (0, 7.0, False)
    defaults = [ServeOptions.parse(parser.parse_args(words)) for parser, words in _serving(["serve", "--state", "s"])]
    assert defaults == [ServeOptions(state=Path("s"))] * 2


def _serving(options: list[str]) -> list[tuple[argparse.ArgumentParser, list[str]]]:
    return [(cli._parser(), ["cas", *options]), (cas_cli._parser(), options)]


def test_errors_are_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of ours is exit code 1, with what is wrong and what to do; no traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["identity", "create"]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("pulumi-scone: the Pulumi CLI is not on the PATH\n  → ")
