"""What the embedded CAS measures of itself: the whole package, by a fixed rule."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import scone_cas
from scone_cas.identity.cas_evidence import measure, measured_files
from scone_cas.server.supervisor import _environment

PACKAGE = Path(scone_cas.__file__).parent
TINY = "5975b181c4ee7e70156f918011c58f075dcdb2c4553d6cf9521887f77e83c6d5"


def test_all_source_files_are_measured() -> None:
    """Every source file that git knows of the package is measured, in the order of the paths."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", "*.py"],
        cwd=PACKAGE,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert len(listed) > 60
    assert measured_files() == sorted(path for path in listed if (PACKAGE / path).exists())


def test_the_rule_is_fixed(tmp_path: Path) -> None:
    """A tiny tree has a measurement that was computed by hand: whoever pins a software key pins this rule."""
    (tmp_path / "room").mkdir()
    (tmp_path / "b.py").write_bytes(b"B")
    (tmp_path / "room" / "a.py").write_bytes(b"A")
    (tmp_path / "notes.txt").write_bytes(b"not measured")
    assert measured_files(tmp_path) == ["b.py", "room/a.py"]
    assert measure(tmp_path).hex() == TINY


def test_the_default_is_the_package() -> None:
    """Without a folder it is the package that is measured: by the rule, written down here once more."""
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda item: item.relative_to(PACKAGE).as_posix()):
        name = path.relative_to(PACKAGE).as_posix().encode()
        total.update(name + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert measure() == total.digest()


def test_processes_find_the_package(tmp_path: Path) -> None:
    """The ports' processes import the same package, wherever they start."""
    found = subprocess.run(
        [sys.executable, "-c", "import scone_cas; print(scone_cas.__file__)"],
        cwd=tmp_path,
        env={"PYTHONPATH": _environment(None)["PYTHONPATH"].split(os.pathsep)[0]},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()).parent == PACKAGE
