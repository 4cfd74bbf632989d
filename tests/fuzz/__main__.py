"""Fuzzes one target with atheris: `PYTHONPATH=tests python -m fuzz TARGET --seconds N` (from the repository's root).

A find ends the run with a traceback, and its input is written to the folder that `--finds` names.
"""

import argparse
import tempfile
from pathlib import Path

import atheris

PACKAGES = ("scone_policy", "scone_cas", "scone_provider.manifest")


def main() -> None:
    """Run until the time is over or something is found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60, help="(%(default)s)")
    parser.add_argument("--finds", type=Path, default=Path(), help="where inputs that found something go (here)")
    options = parser.parse_args()
    with atheris.instrument_imports(include=list(PACKAGES)):
        from fuzz.targets import SEEDS, TARGETS
    if options.target not in TARGETS:
        parser.error(f"there is no target {options.target}: use {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory() as corpus:
        arguments = [
            "fuzz",
            f"-max_total_time={options.seconds}",
            f"-artifact_prefix={options.finds.resolve()}/",
            "-max_len=20000",
            "-timeout=20",
            "-rss_limit_mb=3000",
            "-verbosity=0",
            corpus,
            str(SEEDS / options.target),
        ]
        target = TARGETS[options.target]
        atheris.Setup(arguments, lambda data: target(bytes(data)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
