"""What a manifest says that is in order, and that a person should know all the same: warnings with their place."""

import re
from collections.abc import Iterator, Mapping

from scone_policy.syntax.problems import Problem
from scone_provider.manifest.as_session import AsSession, texts
from scone_provider.manifest.fields import LATEST, with_tag
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.service import HOST_PATH, ServiceManifest
from scone_provider.manifest.variables import MESH_NAME

_INIT_CONTAINER = re.compile("INIT_CONTAINER[0-9]+_ENABLE")
_VARIABLE = re.compile(MESH_NAME)
_BRACES = re.compile(r"\{\{[^{}\n]*\}\}")
_OFF = frozenset({"", "false", "0", "no"})


def cautions(manifest: Manifest) -> list[Problem]:
    """What to warn of in a manifest that breaks no rule."""
    return list(_of_service(manifest)) if isinstance(manifest, ServiceManifest) else []


def sentences(manifest: Manifest) -> list[str]:
    """The same as sentences for a preview, each with its place and what to do."""
    return [f"{one.rule} ({manifest.where(*one.path)}): {one.fix}" for one in cautions(manifest)]


def _of_service(manifest: ServiceManifest) -> Iterator[Problem]:
    build = manifest.document.data.get("build") if isinstance(manifest.document.data, Mapping) else None
    written = build if isinstance(build, Mapping) else {}
    to = written.get("to")
    if isinstance(to, str) and with_tag(to) != to:
        yield Problem(
            path=("build", "to"),
            rule=f"build.to has no tag, so {LATEST} is taken, which tells no version",
            fix="write a tag, such as :1",
        )
    if HOST_PATH in written:
        yield Problem(
            path=("build", "host_paths"),
            rule="build.host_path is read as build.host_paths: what the host has there is used, without protection",
            fix="write host_paths",
        )
    for section, values in (("local", manifest.environment.local), ("global", manifest.environment.global_)):
        for name, value in values.items():
            if _INIT_CONTAINER.fullmatch(name) and (value or "").lower() not in _OFF:
                yield Problem(
                    path=("environment", section, name),
                    rule=f"{name} makes no init container here: pods start at once, and the rollout waits until all of "
                    "them are ready",
                    fix="let the program try again until what it needs is there, or leave it out",
                )
    for path, text in texts(manifest):
        # What it says is not shown: a text may hold what is for nobody's eyes.
        if _BRACES.search(_VARIABLE.sub("", text)):
            yield Problem(
                path=path,
                rule="something in double braces is no variable of the mesh, so it stays as it is",
                fix="write {{name}}, with letters, digits, _ and - in the name, where one is meant",
            )
    yield from AsSession(manifest).cautions()
