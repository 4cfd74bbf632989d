"""Which value a variable has for one service of a mesh, and where it was said (manifests, env: precedence)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from scone_provider.manifest.mesh import CHARTS, EVERYONE, Mesh
from scone_provider.manifest.problems import Findings
from scone_provider.manifest.service import ServiceManifest

_REFERENCE = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_\-]*)\}\}")
_MAX_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value and the place that gave it, for errors."""

    text: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The variables of one service: its own env section, then helm, then global, then its manifest's defaults."""

    service: str
    values: Mapping[str, Value]
    findings: Findings = field(repr=False)

    def get(self, name: str) -> Value | None:
        """The value of a variable with the variables in it replaced, or None when nobody gives one."""
        found = self.values.get(name)
        return None if found is None else Value(text=self.fill(found.text, where=found.where), where=found.where)

    def fill(self, text: str, *, where: str, _depth: int = 0) -> str:
        """The text with each `{{name}}` replaced. What has no value is noted among the findings and becomes empty."""

        def one(match: re.Match[str]) -> str:
            found = self.values.get(match[1])
            if found is None:
                self.findings.add(
                    f"the variable {{{{{match[1]}}}}} has no value for the service {self.service}",
                    where=where,
                    fix=f"Give it in the Meshfile: env, service {self.service} or global, name {match[1]}.",
                )
                return ""
            if _depth >= _MAX_DEPTH:
                self.findings.add(f"the variable {{{{{match[1]}}}}} is defined by itself", where=found.where)
                return ""
            return self.fill(found.text, where=found.where, _depth=_depth + 1)

        return _REFERENCE.sub(one, text)


def variables_of(mesh: Mesh, service: str, manifest: ServiceManifest, *, release: str, findings: Findings) -> Variables:
    """The variables of a service, with the mesh's own: `namespace`, `release`, `cas_<name>_cas_url`, `…_cas_key`."""
    values = {
        "release": Value(text=release, where="release"),
        "namespace": Value(text=mesh.policy.namespace, where=mesh.where("policy", "namespace")),
    }
    for name, cas in mesh.cas.items():
        for key in ("cas_url", "cas_key"):
            if (text := getattr(cas, key)) is not None:
                values[f"cas_{name}_{key}"] = Value(text=text, where=mesh.where("cas", name, key))
    for name, default in manifest.environment.global_.items():
        if default is not None:
            values[name] = Value(text=default, where=manifest.where("environment", "global", name))
    for section in (EVERYONE, CHARTS, service):
        if section in mesh.env:
            values |= {
                name: Value(text=text, where=mesh.where("env", section, "env", name))
                for name, text in mesh.env[section].env.items()
            }
    return Variables(service=service, values=values, findings=findings)
