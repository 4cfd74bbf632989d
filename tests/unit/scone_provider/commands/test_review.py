"""`pulumi-scone review`: gates, acceptances and exit codes."""

import io
import json
from pathlib import Path

import pytest

from scone_provider.cli import main
from support.preview_json import preview, step

WIDER = preview(step("Cas", "c", {"url": "a"}, {"url": "b"}), step("Cas", "d", {"url": "a"}, {"url": "x"}))


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    """A preview in a file."""
    path = tmp_path / "preview.json"
    path.write_text(WIDER)
    return path


def findings(file: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """As `--format json` prints them."""
    assert main(["review", str(file), "--format", "json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["findings"]
    return found


def test_gates(wider: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a gate 0; with one that is hit 3, and which change hit it; with another 0."""
    assert main(["review", str(wider)]) == 0
    assert main(["review", str(wider), "--fail-on", "regenerates"]) == 0
    capsys.readouterr()
    assert main(["review", str(wider), "--fail-on", "regenerates, widens"]) == 3
    assert capsys.readouterr().err.splitlines() == ["widens: Cas c: url", "widens: Cas d: url"]


def test_an_acceptance_is_for_one_change(wider: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted by the very values: the other change still stops, and so does the same path with other values."""
    one, other = findings(wider, capsys)
    allowed = tmp_path / "allowed.yaml"
    gate = ["review", str(wider), "--fail-on", "widens", "--allow", str(allowed)]
    allowed.write_text(json.dumps([one | {"reason": "moved to the new CAS"}]))
    assert main(gate) == 3
    allowed.write_text(json.dumps([one, other]))
    assert main(gate) == 0
    allowed.write_text(json.dumps([one, other | {"after": "y"}]))
    assert main(gate) == 3


def test_a_hidden_value_is_accepted_by_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is hidden looks the same whichever value it is: the policy's digest tells them apart."""
    policy = {"name": "n", "secrets": {"p": {"kind": "ascii", "value": "[secret]"}}}
    files = []
    for digest in ("1", "2"):
        files.append(tmp_path / f"{digest}.json")
        sides = [{"policy": policy, "digest": side} for side in ("0", digest)]
        files[-1].write_text(preview(step("SecurityPolicy", "p", *sides, paths=["policy.secrets.p.value"])))
    (one,) = [one for one in findings(files[0], capsys) if one["direction"] == "changes"]
    allowed = tmp_path / "allowed.json"
    allowed.write_text(json.dumps([one]))
    gate = ["--fail-on", "changes", "--allow", str(allowed)]
    assert main(["review", str(files[0]), *gate]) == 0
    assert main(["review", str(files[1]), *gate]) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no list"),
        ("[1]", "needs resource"),
        ("- {resource: a, path: b, before: 1, after: 2, until: 2027}", "until is not known"),
    ],
)
def test_mistakes_in_acceptances(
    wider: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """A file that accepts nothing as written is an error, and not an empty list."""
    allowed = tmp_path / "allowed.yaml"
    allowed.write_text(text)
    assert main(["review", str(wider), "--fail-on", "widens", "--allow", str(allowed)]) == 1
    assert message in capsys.readouterr().err


def test_mistakes_of_usage(wider: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A direction that there is not, and a file that there is not, are said in one line."""
    assert main(["review", str(wider), "--fail-on", "widen"]) == 2
    assert "--fail-on widen: one of widens" in capsys.readouterr().err
    assert main(["review", str(tmp_path / "none")]) == 2
    assert main(["review", str(tmp_path)]) == 2


def test_a_failed_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The review is written, says so at its top, and ends with 1 whatever else is gated."""
    path = tmp_path / "preview.json"
    path.write_text(preview(diagnostics=[{"severity": "error", "message": "error: it broke\n"}]))
    assert main(["review", str(path), "--fail-on", "widens"]) == 1
    assert "the preview failed" in capsys.readouterr().out


def test_standard_input_and_schema(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`pulumi preview --json | pulumi-scone review`, and the schema without a preview."""
    monkeypatch.setattr("sys.stdin", io.StringIO(WIDER))
    assert main(["review"]) == 0
    assert "widens trust" in capsys.readouterr().out
    assert main(["review", "--format", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Review of a Pulumi preview"
