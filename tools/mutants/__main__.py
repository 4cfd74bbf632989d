"""`python -m tools.mutants`: tries a sample of mutants, or all, and says which ones no test notices."""

import argparse
import math
import os
import random
import sys
import time
import tomllib
from collections import Counter
from itertools import chain, zip_longest
from pathlib import Path

from tools.mutants.mutations import Mutant, find
from tools.mutants.run import Trial

_ROOT = Path(__file__).parents[2]
_PACKAGES = (
    "scone_policy",
    "scone_provider/derive",
    "scone_provider/manifest",
    "scone_provider/image",
    "scone_cas/attestation",
    "scone_cas/registry",
    "scone_cas/secrets",
)
_GOOD = ("killed", "timeout")


def main(argv: list[str] | None = None) -> int:
    """0 if everything that was to be tried was tried; the share is for people to judge."""
    options = _parser().parse_args(argv)
    os.nice(19)
    folders = [f"provider/{name}" for name in options.packages]
    trial = Trial(_ROOT, _ROOT / ".devstack" / "mutants", [f"provider/{name}" for name in _PACKAGES])
    trial.prepare()
    every = {folder: _mutants(trial.source, folder, options.match) for folder in folders}
    chosen = every if options.all else {name: _sample(found, options, name) for name, found in every.items()}
    counts = ", ".join(f"{len(chosen[name])} of {len(found)} in {name}" for name, found in every.items())
    print(f"seed {options.seed}: {counts}", flush=True)
    found: dict[str, Counter[str]] = {name: Counter() for name in folders}
    deadline = time.monotonic() + options.minutes * 60 if options.minutes and not options.all else math.inf
    # In turn, so that a run that is stopped has tried as much of each.
    turns = [mutant for mutant in chain(*zip_longest(*chosen.values())) if mutant]
    for number, mutant in enumerate(turns, 1):
        if time.monotonic() > deadline:
            print(f"time is over, {len(turns) - number + 1} were not tried: run it again to go on")
            break
        result = trial.attempt(mutant)
        found[next(name for name in folders if mutant.path.startswith(f"{name}/"))][result] += 1
        if result not in _GOOD:
            before, after = mutant.diff((trial.source / mutant.path).read_bytes())
            print(f"{number}/{len(turns)} {result} {mutant.path}:{mutant.line} {mutant.kind}\n- {before}\n+ {after}\n")
            sys.stdout.flush()
    for name, counter in [*found.items(), ("all", sum(found.values(), Counter()))]:
        print(_line(name, counter))
    return int(sum(found.values(), Counter()).total() < len(turns))


def _line(name: str, counter: Counter[str]) -> str:
    good, total = sum(counter[result] for result in _GOOD), counter.total()
    share = f"{100 * good / total:.0f} %" if total else "-"
    details = ", ".join(f"{number} {result}" for result, number in sorted(counter.items()))
    return f"{name}: {share} of {total} noticed ({details})"


def _mutants(root: Path, folder: str, part: str) -> list[Mutant]:
    """All mutants of a package, in files whose path holds `part`, but for equivalent.toml: those no test can tell."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text())["mutant"]
    equivalent = {(entry["file"], entry["before"], entry["after"]) for entry in listed}
    found = []
    for file in (file for file in sorted((root / folder).rglob("*.py")) if part in str(file.relative_to(root))):
        path, source = str(file.relative_to(root)), file.read_bytes()
        found += [mutant for mutant in find(path, source) if (file.name, *mutant.diff(source)) not in equivalent]
    return found


def _sample(mutants: list[Mutant], options: argparse.Namespace, name: str) -> list[Mutant]:
    chance = random.Random(f"{options.seed} {name}")  # noqa: S311 - a choice that can be repeated
    return chance.sample(mutants, min(options.count, len(mutants)))


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python3 -m tools.mutants", description=__doc__)
    whole.add_argument("--all", action="store_true", help="every mutant: many hours; a run that is stopped goes on")
    whole.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    whole.add_argument("--count", type=int, default=40, help="mutants of the sample per package (default: 40)")
    whole.add_argument("--minutes", type=float, default=30, help="stop after this time; 0: never (default: 30)")
    whole.add_argument("--match", default="", help="only files whose path holds this")
    whole.add_argument("packages", nargs="*", default=_PACKAGES, help=f"of: {', '.join(_PACKAGES)}")
    return whole


if __name__ == "__main__":
    sys.exit(main())
