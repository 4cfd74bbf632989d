"""Command line of the development stack: see `python3 -m tools.devstack --help`."""

import argparse
import contextlib
import itertools
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping

from tools.devstack import checks, files, host, status, teardown, venv
from tools.devstack.demo import Demo
from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.progress import Progress, duration
from tools.devstack.settings import Target, target
from tools.devstack.stack import Stack, check_machine
from tools.devstack.steps import Engine, Step
from tools.devstack.variables import additions


def say(text: str) -> None:
    """A line for the user, at once."""
    print(text, flush=True)


class Commands:
    """What the program can do; each method is one command."""

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:
        self._paths, self._environ = paths, environ

    def up(self, options: argparse.Namespace) -> None:
        """Set up what is missing."""
        wanted = self._target(local=options.purpose == "test")
        check_machine(self._paths, target=wanted, environ=self._environ)
        with self._alone():
            started = time.monotonic()
            self._make_state()
            self._bring_up(wanted, whole=options.purpose != "demo")
            say(f"set-up is complete ({duration(time.monotonic() - started)})")

    def demo(self, options: argparse.Namespace) -> None:
        """Set up, deploy, show the log."""
        options.purpose = "demo"
        self.up(options)
        demo = Demo(self._paths, target=self._target(), say=say)
        say("stack demo: identity, keys, settings")
        demo.prepare()
        say("pulumi up")
        demo.up()
        demo.show_log()

    def down(self, options: argparse.Namespace) -> None:
        """Stop and remove everything but the cache."""
        self._destroy_on_users_cluster()
        with self._alone():
            teardown.take_down(self._paths, say=say)
        if options.machine and (other := host.owner()):
            say(f"the stack of {other.parent}:")
            teardown.take_down(Paths(root=other.parent, cache=self._paths.cache), say=say)
        say(f"everything is down; the toolchain stays in {self._paths.cache} (make clean-cache removes it)")

    def status(self, _: argparse.Namespace) -> None:
        """What runs."""
        for line in status.lines(self._paths):
            say(line)

    def env(self, _: argparse.Namespace) -> None:
        """Exports for a shell."""
        wanted = self._target()
        for name, value in sorted(additions(self._paths, target=wanted, environ=self._environ).items()):
            say(f"export {name}={shlex.quote(value)}")
        first = shlex.quote(f"{self._paths.venv}/bin:{self._paths.bin}")
        say(f'export PATH={first}:"$PATH"')

    def logs(self, options: argparse.Namespace) -> None:
        """The log of a step or process."""
        found = [self._paths.log / f"{prefix}{options.step}.log" for prefix in ("step-", "")]
        present = [path for path in found if path.is_file()]
        if not present:
            names = ", ".join(
                sorted(
                    path.stem.removeprefix("step-")
                    for path in self._paths.log.glob("*.log")
                    if not path.stem.startswith("check-")
                )
            )
            raise DevstackError(
                f"no log of {options.step!r}", where=str(self._paths.log), fix=f"there are: {names or 'none'}"
            )
        for path in present:
            sys.stdout.write(path.read_text(errors="replace"))

    def lint(self, _: argparse.Namespace) -> None:
        """Style and types."""
        self._bring_up_venv()
        checks.run(self._paths, checks.lint_phases(self._paths))

    def unit(self, _: argparse.Namespace) -> None:
        """The fast tests."""
        self._suite("unit")

    def contract(self, _: argparse.Namespace) -> None:
        """Our own processes against each other and a real registry, without Pulumi's engine."""
        self._suite("contract")

    def _suite(self, name: str) -> None:
        self._bring_up_venv()
        checks.run(self._paths, checks.suite_phases(self._paths, suites=(name,), long=False))

    def mutants(self, options: argparse.Namespace) -> None:
        """Small changes of the code that some unit test has to notice."""
        self._bring_up_venv()
        checks.run(self._paths, [checks.mutants_phase(self._paths, options.rest)])

    def lock(self, _: argparse.Namespace) -> None:
        """Resolve the versions of all Python packages anew."""
        self._bring_up_venv()
        self._bring_up_step(venv.lock_step(self._paths, environ=self._environ))
        say(f"wrote {self._paths.lock}: read its change, run the tests, commit it")

    def test(self, options: argparse.Namespace) -> None:
        """Set up, lint, every test."""
        options.purpose = "test"
        self.up(options)
        suites = checks.suite_phases(self._paths, suites=checks.SUITES, long=options.long)
        checks.run(self._paths, itertools.chain(checks.lint_phases(self._paths), suites))

    def clean_cache(self, _: argparse.Namespace) -> None:
        """Remove the toolchain's cache."""
        if host.owner():
            raise DevstackError(
                "programs of the cache are running", where=str(self._paths.cache), fix="run make down first"
            )
        shutil.rmtree(self._paths.cache, ignore_errors=True)
        say(f"removed {self._paths.cache}")

    def _target(self, *, local: bool = False) -> Target:
        wanted = target(self._environ)
        if wanted.named and local:
            raise DevstackError(
                "the tests attack the cluster that they run on",
                where="your own cluster",
                fix="unset KUBE_CONTEXT, REGISTRY and CAS_HOST",
            )
        return wanted

    def _bring_up(self, wanted: Target, *, whole: bool) -> None:
        stack = Stack(self._paths, target=wanted, environ=self._environ)
        with Progress() as progress:
            Engine(log=self._paths.log, progress=progress).bring_up(stack.steps(whole=whole))
        if wanted.named:
            files.write_json(self._paths.state / "named.json", wanted.as_dict())

    def _bring_up_venv(self) -> None:
        self._bring_up_step(Stack(self._paths, target=Target(), environ=self._environ).venv())

    def _bring_up_step(self, step: Step) -> None:
        with self._alone():
            self._make_state()
            with Progress() as progress:
                Engine(log=self._paths.log, progress=progress).bring_up([step])

    def _make_state(self) -> None:
        self._paths.state.mkdir(mode=0o700, exist_ok=True)
        self._paths.state.chmod(0o700)

    def _destroy_on_users_cluster(self) -> None:
        """What stands on a cluster of the user's must go while we still know of it."""
        value = files.read_json(self._paths.state / "named.json")
        if value:
            demo = Demo(self._paths, target=Target(**value), say=say)
            if demo.exists():
                demo.destroy()

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        name = files.digest(str(self._paths.root))[:16]
        return files.locked(
            self._paths.cache / "locks" / name, waiting=lambda: say("waiting: another run works on this stack")
        )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python3 -m tools.devstack",
        description="What a machine without Docker, Kubernetes or Pulumi needs to run this project.",
    )
    commands = whole.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="set up what is missing")
    up.add_argument(
        "--for",
        dest="purpose",
        choices=("demo", "all", "test"),
        default="all",
        help="demo: without BuildKit and what only other examples need; test: the local cluster only (default: all)",
    )
    commands.add_parser("demo", help="set up, deploy the demo, show the service's log")
    down = commands.add_parser("down", help="stop and remove everything but the cache")
    down.add_argument(
        "--machine", action="store_true", help="also the stack of another checkout, if one holds this machine"
    )
    commands.add_parser("status", help="what runs, and where its log is")
    commands.add_parser("env", help="print exports for a shell")
    logs = commands.add_parser("logs", help="print the log of a step or process")
    logs.add_argument("step")
    commands.add_parser("lint", help="style and types")
    commands.add_parser("unit", help="the fast tests")
    commands.add_parser("contract", help="provider, CAS and registry client against each other, without the engine")
    mutants = commands.add_parser(
        "mutants", help="changes of the code that some unit test has to notice; tools.mutants --help tells the rest"
    )
    mutants.add_argument("rest", nargs=argparse.REMAINDER, help="for tools.mutants, after --")
    commands.add_parser("lock", help="write the newest versions of all Python packages to lock.txt")
    test = commands.add_parser("test", help="set up, lint, every test")
    test.add_argument("--long", action="store_true", help="also the long forms: about half an hour more")
    commands.add_parser("clean-cache", help="remove the toolchain's cache")
    return whole


def main(argv: list[str] | None = None) -> int:
    """Run a command; exit code 0, 1 for an error, 130 where interrupted."""
    options = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.umask(0o022)  # what packages and containers expect; the state folder itself is 0700
    commands = Commands(Paths.of(), os.environ)
    command: Callable[[argparse.Namespace], None] = getattr(commands, options.command.replace("-", "_"))
    try:
        command(options)
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {error}\n  → mend what it says, then run this again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on, or make down to remove what was set up", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
