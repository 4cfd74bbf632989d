"""Which value a variable has for one service of a mesh, and where it was said (manifests, env: precedence)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scone_policy.syntax.nearest import nearest_word
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import CHARTS, EVERYONE, Mesh
from scone_provider.manifest.service import ServiceManifest
from scone_provider.manifest.variables import MESH_NAME

_REFERENCE = re.compile(MESH_NAME)
_MAX_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value and the place that gave it, for errors."""

    text: str
    where: str


def names_in(tree: object) -> set[str]:
    """The names of all variables (`{{name}}`) in the texts of a JSON-like tree, keys included."""
    if isinstance(tree, str):
        return set(_REFERENCE.findall(tree))
    if isinstance(tree, Mapping):
        return set().union(*(names_in(key) | names_in(value) for key, value in tree.items()))
    if isinstance(tree, list | tuple):
        return set().union(*map(names_in, tree))
    return set()


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The variables of one service: its own env section, then helm, then global, then its manifest's defaults.

    `used` collects the names of those that something asked for. `fix` says, for errors, how `{name}` is given.
    """

    service: str
    values: Mapping[str, Value]
    findings: Findings = field(repr=False)
    used: set[str] = field(default_factory=set, repr=False, compare=False)
    fix: str = "Give it in the Meshfile: env, service {section} or global, name {name}."

    def anew(self, findings: Findings) -> "Variables":
        """The same variables, for work of its own, whose problems are noted among these findings."""
        return replace(self, findings=findings, used=set(self.used))

    def get(self, name: str) -> Value | None:
        """The value of a variable with the variables in it replaced, or None when nobody gives one.

        A variable that only stands for another one has the place where that one's value was said.
        """
        self.used.add(name)
        found = self.values.get(name)
        if found is None:
            return None
        said = found
        for _ in range(_MAX_DEPTH):
            match = _REFERENCE.fullmatch(said.text)
            if match is None or match[1] not in self.values:
                break
            said = self.values[match[1]]
        return Value(text=self.fill(found.text, where=found.where), where=said.where)

    def fill(self, text: str, *, where: str, _depth: int = 0) -> str:
        """The text with each `{{name}}` replaced. What has no value is noted among the findings and becomes empty."""

        def one(match: re.Match[str]) -> str:
            self.used.add(match[1])
            found = self.values.get(match[1])
            if found is None:
                whose = "" if self.service == CHARTS else f" for the service {self.service}"
                self.findings.add(
                    f"the variable {{{{{match[1]}}}}} has no value{whose}",
                    where=where,
                    fix=self.fix.format(section=self.service, name=match[1]) + self._near(match[1]),
                )
                return ""
            if _depth >= _MAX_DEPTH:
                self.findings.add(
                    f"the variable {{{{{match[1]}}}}} is defined by itself",
                    where=found.where,
                    fix="Give it a value of its own.",
                )
                return ""
            return self.fill(found.text, where=found.where, _depth=_depth + 1)

        return _REFERENCE.sub(one, text)

    def _near(self, name: str) -> str:
        near = nearest_word(name, self.values)
        return f" Did you mean {near}?" if near else ""


def variables_of(
    mesh: Mesh,
    service: str,
    manifest: ServiceManifest,
    *,
    release: str,
    cas_keys: Mapping[str, str],
    findings: Findings,
) -> Variables:
    """The variables of a service: the mesh's own, its manifest's defaults, and what the Meshfile's env gives."""
    values = _own(mesh, release=release, cas_keys=cas_keys)
    for name, default in manifest.environment.global_.items():
        if default is not None:
            values[name] = Value(text=default, where=manifest.where("environment", "global", name))
    values |= _given(mesh, (EVERYONE, CHARTS, service))
    return Variables(service=service, values=values, findings=findings)


def mesh_variables(mesh: Mesh, *, release: str | None, cas_keys: Mapping[str, str], findings: Findings) -> Variables:
    """The variables of the mesh as a whole: its own, and the sections global and helm. `release`: None for none."""
    values = _own(mesh, release=release, cas_keys=cas_keys) | _given(mesh, (EVERYONE, CHARTS))
    return Variables(service=CHARTS, values=values, findings=findings)


def _own(mesh: Mesh, *, release: str | None, cas_keys: Mapping[str, str]) -> dict[str, Value]:
    """`namespace`, `release`; `cas_<name>_cas_url`, `…_cas_key`, `…_cas_encryption_key` by name and alias of a CAS."""
    values = {
        **({} if release is None else {"release": Value(text=release, where="release")}),
        "namespace": Value(text=mesh.policy.namespace, where=mesh.where("policy", "namespace")),
    }
    for name, cas in mesh.cas.items():
        exported = {
            "cas_url": cas.cas_url,
            "cas_key": cas.cas_key or cas_keys.get(name),
            "cas_encryption_key": cas.cas_encryption_key,
        }
        for key, text in exported.items():
            if text is not None:
                found = Value(text=text, where=mesh.where("cas", name, key))
                values |= {f"cas_{called}_{key}": found for called in (name, *cas.alias)}
    return values


def _given(mesh: Mesh, sections: Sequence[str]) -> dict[str, Value]:
    """What the sections of `env` say, a later one over an earlier one."""
    return {
        name: Value(text=text, where=mesh.where("env", section, "env", name))
        for section in sections
        if section in mesh.env
        for name, text in mesh.env[section].env.items()
    }
