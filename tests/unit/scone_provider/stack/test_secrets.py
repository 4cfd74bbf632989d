"""The two secrets of a stack: what is told of them, with a settings file in the place of the Pulumi CLI's stack.

With the CLI itself: tests/engine/test_identity_create.py.
"""

import datetime as dt
import json
import sys
from pathlib import Path

import pytest

from scone_provider.cas.identity import Identity
from scone_provider.errors import SconeError
from scone_provider.stack.secrets import create_stack_secrets

CLI = """#!{python}
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept.json")
known = json.loads(kept.read_text()) if kept.exists() else {{}}
words = [word for word in sys.argv[1:] if not word.startswith("--")]
if words[1] == "set":
    kept.write_text(json.dumps({{**known, words[2]: sys.stdin.read()}}))
elif words[2] in known:
    print(known[words[2]])
else:
    sys.exit("error: configuration key '" + words[2] + "' not found for stack 'dev'")
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `pulumi` keeps settings in `kept.json`."""
    program = tmp_path / "pulumi"
    program.write_text(CLI.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def told() -> list[str]:
    """What one run says."""
    lines: list[str] = []
    create_stack_secrets(stack=None, config_file=None, tell=lines.append)
    return lines


def test_key_hash_is_told_when_made_and_when_kept(stack: Path) -> None:
    """Both runs name the identity by its key hash, as `owners` and access policies want it; the keys stay unseen."""
    made, kept = told(), told()
    key_hash = Identity.parse(json.loads((stack / "kept.json").read_text())["scone:identity"]).key_hash
    assert made == [
        f"scone:identity: made and stored as a secret of the stack; its key hash is {key_hash}",
        "scone:imageKey: made and stored as a secret of the stack",
    ]
    assert kept == [f"scone:identity: kept; its key hash is {key_hash}", "scone:imageKey: kept"]


def test_key_hash_is_that_of_the_stack(stack: Path) -> None:
    """An identity that was put there by hand is the one that is told."""
    identity = Identity.create(common_name="ann", now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    (stack / "kept.json").write_text(json.dumps({"scone:identity": identity.to_pem()}))
    assert told()[0] == f"scone:identity: kept; its key hash is {identity.key_hash}"


def test_what_is_no_identity_is_said(stack: Path) -> None:
    """A stack's setting that holds none is an error with its name, not its value."""
    (stack / "kept.json").write_text('{"scone:identity": "planted"}')
    with pytest.raises(SconeError, match="scone:identity: this holds no identity") as refused:
        told()
    assert "planted" not in str(refused.value)
