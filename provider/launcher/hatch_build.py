"""Builds the launcher into the package: as hatchling's build hook, and as a script.

    python provider/launcher/hatch_build.py             builds, and checks the digest
    python provider/launcher/hatch_build.py --record    builds, and records the digest as the right one

The launcher's bytes enter the measurement of every image, so two machines must build the same ones. Their digest is
recorded in `scone_provider/image/launcher.sha256`, which git keeps and the package ships; the binary beside it is made.
"""
# ruff: noqa: INP001  this folder is a Go module; hatchling loads this one file by its path

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a script this needs nothing but Python and Go
    BuildHookInterface = object  # type: ignore[assignment,misc]

HERE = pathlib.Path(__file__).resolve().parent
IMAGE = HERE.parent / "scone_provider" / "image"
BINARY = IMAGE / "launcher-linux-amd64"
DIGEST = IMAGE / "launcher.sha256"
RECORD = "python provider/launcher/hatch_build.py --record"

# Only these of the user's variables reach Go: where its tools and caches are. Everything else that Go obeys (GOFLAGS,
# GOEXPERIMENT, GOFIPS140, GOAMD64, GOENV's file, GODEBUG, CGO_*) could change the bytes, and is set below or absent.
KEPT = ("PATH", "HOME", "XDG_CACHE_HOME", "GOCACHE", "TMPDIR")
SET = {
    "CGO_ENABLED": "0",
    "GOAMD64": "v1",
    "GOARCH": "amd64",
    "GOENV": "off",
    "GOEXPERIMENT": "",
    "GOFIPS140": "off",
    "GOFLAGS": "",
    "GOOS": "linux",
    "GOPROXY": "off",
    "GOTELEMETRY": "off",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
BUILD_SECONDS = 600


class LauncherBuildError(Exception):
    """The launcher cannot be built as recorded; the text says why and what to do."""


def needed_go(source: pathlib.Path) -> str:
    """The Go version that go.mod names, such as `go1.26.8`."""
    found = re.search(r"^go (\d+\.\d+\.\d+)$", (source / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise LauncherBuildError(f"{source / 'go.mod'} names no Go version of three parts")
    return f"go{found[1]}"


def run(command: list[str], *, folder: pathlib.Path) -> str:
    """The standard output of a Go command, in an environment that cannot change what it builds."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | SET
    try:
        done = subprocess.run(  # noqa: S603  our own arguments, no shell
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LauncherBuildError(f"{' '.join(command[:2])}: {error}") from None
    if done.returncode != 0:
        raise LauncherBuildError(f"{' '.join(command[:2])} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def find_go(source: pathlib.Path) -> str:
    """The path of a Go of exactly the needed version."""
    needed = needed_go(source)
    found = []
    of_debian = f"/usr/lib/go-{needed.removeprefix('go').rpartition('.')[0]}/bin/go"
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", of_debian):
        if candidate and pathlib.Path(candidate).is_file():
            version = run([candidate, "env", "GOVERSION"], folder=source)
            if version == needed:
                return candidate
            found.append(f"{version} at {candidate}")
    raise LauncherBuildError(
        f"the launcher needs {needed} exactly, because its bytes are measured; found {', '.join(found) or 'no Go'}\n"
        f"  → install {needed} and put it first in PATH, or install pulumi-scone from its wheel: that has it inside"
    )


def build(target: pathlib.Path, *, source: pathlib.Path = HERE) -> str:
    """Build the launcher of `source` into `target` (mode 0755, replaced in one step); returns its SHA-256 in hex."""
    go = find_go(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".launcher-") as folder:
        made = pathlib.Path(folder) / "launcher"
        run(
            [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", str(made), "."],
            folder=source,
        )
        made.chmod(0o755)
        digest = digest_of(made)
        made.replace(target)
    return digest


def digest_of(path: pathlib.Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded() -> str:
    """The digest that git keeps."""
    try:
        return DIGEST.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise LauncherBuildError(f"{DIGEST} is missing\n  → record it: {RECORD}") from None


def ensure() -> bool:
    """Make sure that the recorded launcher lies in the package; tells whether it had to be built."""
    expected = recorded()
    if BINARY.is_file() and digest_of(BINARY) == expected:
        return False
    found = build(BINARY)
    if found != expected:
        BINARY.unlink()
        raise LauncherBuildError(
            f"the launcher came out as sha256 {found}, but {expected} is recorded in {DIGEST}\n"
            f"  → if its source was meant to change: {RECORD} (every image's measurement changes with it); "
            f"else compare `go version` with {needed_go(HERE)} as published"
        )
    return True


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc,valid-type,type-arg,unused-ignore]
    """Puts the launcher into wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling's interface
        """Build before hatchling collects files; an sdist carries the source instead."""
        if self.target_name == "wheel":
            ensure()


def main(arguments: list[str]) -> int:
    """Run as a script."""
    try:
        if arguments == ["--record"]:
            digest = build(BINARY)
            DIGEST.write_text(digest + "\n", encoding="ascii")
            sys.stdout.write(f"recorded {digest}\n")
        elif arguments:
            sys.stderr.write(f"{__doc__}\n")
            return 2
        else:
            built = ensure()
            sys.stdout.write(f"{BINARY}: {'built' if built else 'up to date'}\n")
    except LauncherBuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
