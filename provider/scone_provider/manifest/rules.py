"""Rules that look across the sections of a service manifest, or beyond the shape of one value."""

import posixpath
from collections.abc import Iterator

from scone_policy.syntax.placeholders import parts
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Path
from scone_provider.manifest.as_session import AsSession, named_somehow, texts
from scone_provider.manifest.container_variables import value_rule
from scone_provider.manifest.fields import is_open
from scone_provider.manifest.service import Build, ManifestEnvironment, ManifestSecrets, ServiceManifest

PATH_KEYS = ("dirs", "fs_dirs", "fs_files", "plains", "plain_files", "host_paths")
"""Build keys whose items are paths in the image; a relative one is below `pwd`."""

_LISTS = (*PATH_KEYS, "copy_", "run", "binaries")
_PROTECTIONS = {
    "dirs": "encrypted",
    "fs_dirs": "verified and not encrypted",
    "fs_files": "verified and not encrypted",
    "plains": "not protected",
    "plain_files": "not protected",
    "host_paths": "not protected",
}


def service_problems(manifest: ServiceManifest) -> list[Problem]:
    """Every broken rule of this sort, with its place in the manifest."""
    environment = manifest.environment
    return [
        *_build_problems(manifest.build),
        *_prefixed("environment", environment_problems(environment)),
        *_secret_problems(manifest.secrets),
        *_injection_problems(manifest),
        *_text_problems(manifest),
        *AsSession(manifest).problems(),
    ]


def environment_problems(environment: ManifestEnvironment) -> Iterator[Problem]:
    """What is wrong with section `environment`; paths are relative to it."""
    for name in environment.global_:
        if name in environment.local:
            rule = f"{name} is local, too, and a local variable is not the mesh's to set"
            yield Problem(path=("global", name), rule=rule, fix="Keep one of the two.")
    for section, values in (("local", environment.local), ("global", environment.global_)):
        for name, value in values.items():
            if value is not None and (rule := value_rule(name, value)):
                yield Problem(path=(section, name), rule=rule)


def _prefixed(section: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield Problem(path=(section, *problem.path), rule=problem.rule, fix=problem.fix)


def _build_problems(build: Build) -> Iterator[Problem]:
    for field in _LISTS:
        for index, item in enumerate(getattr(build, field)):
            key = field.rstrip("_")
            if rule := _item_rule(key, item, build.pwd):
                yield Problem(path=("build", key, index), rule=rule)
    yield from _protection_problems(build)
    yield from _volume_problems(build)


def _item_rule(key: str, item: str, pwd: str | None) -> str:
    if not item.strip():
        return "must not be empty"
    if key == "run" and all(line.strip()[:1] in ("", "#") for line in item.splitlines()):
        return "is a comment and nothing else, so nothing would run"
    if key == "copy" and not is_open(item) and not _is_below(item):
        return "must be a path below the manifest's folder"
    if key in PATH_KEYS and not is_open(item) and not is_open(pwd or ""):
        return _path_rule(item, pwd)
    return ""


def _is_below(path: str) -> bool:
    inner = posixpath.normpath(path)
    return not inner.startswith(("/", "../")) and inner != ".."


def _path_rule(path: str, pwd: str | None) -> str:
    if ".." in path.split("/"):
        return "must be a path without .."
    return "is the whole image: name a directory of its own" if absolute(path, pwd) == "/" else ""


def absolute(path: str, pwd: str | None) -> str:
    """A path in the image; a relative one is below `pwd`, where `copy` puts things."""
    return posixpath.normpath(posixpath.join(pwd or "/", path))


def _protection_problems(build: Build) -> Iterator[Problem]:
    """One path cannot be encrypted, verified in clear and unprotected at once."""
    said: dict[str, str] = {}
    for key, protection in _PROTECTIONS.items():
        for index, item in enumerate(getattr(build, key)):
            if is_open(item) or is_open(build.pwd or ""):
                continue
            path = absolute(item, build.pwd)
            other = said.setdefault(path, key)
            if _PROTECTIONS[other] != protection:
                rule = f"{path} stands in {other}, too: it would be {_PROTECTIONS[other]}, and here {protection}"
                yield Problem(path=("build", key, index), rule=rule, fix="Keep one of the two.")


def _volume_problems(build: Build) -> Iterator[Problem]:
    names: set[str] = set()
    paths: set[str] = set()
    for index, volume in enumerate(build.volumes):
        place: Path = ("build", "volumes", index)
        path = posixpath.normpath(volume.path) if volume.path else ""
        if volume.name and volume.name in names:
            yield Problem(path=place, rule=f"two volumes have the name {volume.name}")
        elif path in paths:
            yield Problem(path=place, rule=f"two volumes are mounted at {path}")
        names |= {volume.name} if volume.name and not is_open(volume.name) else set()
        paths |= {path} if path and not is_open(path) else set()


def _secret_problems(secrets: ManifestSecrets) -> Iterator[Problem]:
    for name in secrets.global_:
        if name in secrets.local:
            rule = f"the secret {name} is local, too"
            yield Problem(path=("secrets", "global", name), rule=rule, fix="Give one of them another name.")
    for name in secrets.import_:
        if name in secrets.local or name in secrets.global_:
            rule = f"the secret {name} is both imported and defined"
            yield Problem(path=("secrets", "import", name), rule=rule, fix="Keep one of the two.")


def _injection_problems(manifest: ServiceManifest) -> Iterator[Problem]:
    for path in manifest.injection_files:
        if is_open(path):
            continue
        if not path.startswith("/"):
            yield Problem(path=("injection_files", path), rule="must be an absolute path")
        elif path == "/" or posixpath.normpath(path) != path or path.startswith("//"):
            rule = "must be the plain path of a file: no . and .., no / at its end, none twice"
            yield Problem(path=("injection_files", path), rule=rule)


def _text_problems(manifest: ServiceManifest) -> Iterator[Problem]:
    """Placeholders that are none, wherever they may stand."""
    for path, text in texts(manifest):
        try:
            parts(named_somehow(text))
        except ValueError as error:
            yield Problem(path=path, rule=str(error))
