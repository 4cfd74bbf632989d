"""A service manifest as the session that shows what it can: what the session language says of it, and where."""

import re
from collections.abc import Iterator, Mapping, Sequence

from scone_policy.model.session import Session
from scone_policy.rules.check import check
from scone_policy.rules.warnings import cautions
from scone_policy.syntax.placeholders import CLOSING, OPENING, SELF, Placeholder, parts
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Document, Path
from scone_provider.manifest.service import Build, ServiceManifest
from scone_provider.manifest.variable_masking import VariableMask
from scone_provider.manifest.variables import MESH_NAME

_PLACEHOLDER = re.compile(rf"{re.escape(OPENING)}[^$]*{re.escape(CLOSING)}")
_MESH_VARIABLE = re.compile(MESH_NAME)
_NEWEST = "0.3.12"
_NAME = "manifest"
_TIES = ("private_key", "issuer", "signer")


class AsSession:
    """The secrets and volumes of one manifest as a session.

    A secret that is not defined here may be the Meshfile's (`image_secrets`), so of whatever kind is needed.
    """

    def __init__(self, manifest: ServiceManifest) -> None:
        self._manifest, self._veil = manifest, VariableMask()
        self._defined = {
            name: {key: _judgeable(value) for key, value in one.items()}
            for section in (manifest.secrets.local, manifest.secrets.global_)
            for name, one in section.items()
        }

    def problems(self) -> list[Problem]:
        """What breaks a rule of the session language, as far as one manifest shows it."""
        return self._placed(check(Document(data=self._session({})))[1])

    def cautions(self) -> list[Problem]:
        """What the session language warns of, also in the texts that name secrets; of a manifest that is in order."""
        environment = {
            name: text
            for section in (self._manifest.environment.local, self._manifest.environment.global_)
            for name, text in section.items()
            if text is not None
        }
        files = [{"path": path, "content": file.content} for path, file in self._manifest.injection_files.items()]
        more = {
            "services": {_NAME: {"command": self._manifest.build.command, "environment": environment}},
            "images": {_NAME: {"injection_files": files}},
        }
        try:
            return self._placed(cautions(Session.model_validate(self._session(more))))
        except ValueError:
            # A text that does not fit its secret is refused by the mesh, which knows all of them.
            return self._placed(cautions(Session.model_validate(self._session({}))))

    def _session(self, more: Mapping[str, object]) -> dict[str, object]:
        written = [text for _, text in texts(self._manifest)] if more else []
        elsewhere = {*self._manifest.secrets.import_, *_named(self._defined), *_asked_for(written)} - set(self._defined)
        session = {
            "name": _NAME,
            "version": _NEWEST,
            "secrets": {
                **{name: {"import": {"session": "elsewhere", "secret": name}} for name in sorted(elsewhere)},
                **self._defined,
            },
            "volumes": _definitions(self._manifest.build),
            **more,
        }
        hidden = self._veil.hide(session)
        assert isinstance(hidden, dict)
        return hidden

    def _placed(self, problems: Sequence[Problem]) -> list[Problem]:
        """The same problems where they stand in the manifest; none of what does not stand in it."""
        found = []
        for problem in problems:
            place = self._place(
                tuple(self._veil.shown(step) if isinstance(step, str) else step for step in problem.path)
            )
            if place:
                found.append(Problem(path=place, rule=self._veil.shown(problem.rule), fix=problem.fix))
        return found

    def _place(self, path: Path) -> Path:
        manifest = self._manifest
        match path:
            case ("volumes", name, *rest):
                indices = {volume.name: index for index, volume in enumerate(manifest.build.volumes)}
                return ("build", "volumes", indices[str(name)], *rest)
            case ("secrets", str(name), *rest) if name in self._defined:
                return ("secrets", "local" if name in manifest.secrets.local else "global", name, *rest)
            case ("services", _, "command", *_):
                return ("build", "command")
            case ("services", _, "environment", str(name), *_):
                return ("environment", "local" if name in manifest.environment.local else "global", name)
            case ("images", _, *rest):
                return tuple(rest)
        return ()


def texts(manifest: ServiceManifest) -> Iterator[tuple[Path, str]]:
    """Where a placeholder or a variable of the mesh may stand, outside of secrets."""
    yield ("build", "command"), manifest.build.command
    for section, values in (("local", manifest.environment.local), ("global", manifest.environment.global_)):
        yield from (((("environment", section, name)), value) for name, value in values.items() if value is not None)
    for path, file in manifest.injection_files.items():
        yield ("injection_files", path, "content"), file.content


def named_somehow(text: str) -> str:
    """The text with a name in place of each variable inside of a placeholder: which one it names is not known here."""
    return _PLACEHOLDER.sub(lambda match: _MESH_VARIABLE.sub("x", match[0]), text)


def _judgeable(tree: object) -> object:
    if isinstance(tree, Mapping):
        return {key: _judgeable(value) for key, value in tree.items()}
    return named_somehow(tree) if isinstance(tree, str) else tree


def _named(secrets: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Names of secrets that these are made with."""
    for definition in secrets.values():
        yield from (name for key in _TIES if isinstance(name := definition.get(key), str) and "\n" not in name)
        payload = definition.get("payload")
        values = [*(payload.values() if isinstance(payload, Mapping) else ()), *definition.values()]
        yield from _asked_for([value for value in values if isinstance(value, str)])


def _asked_for(several: Sequence[str]) -> Iterator[str]:
    for text in several:
        try:
            yield from (one.name for one in parts(text) if isinstance(one, Placeholder) and one.name != SELF)
        except ValueError:
            continue


def _definitions(build: Build) -> dict[str, dict[str, object]]:
    return {
        volume.name: {
            key: value for key, value in (("export", volume.export), ("import", volume.import_)) if value is not None
        }
        for volume in build.volumes
        if volume.name
    }
