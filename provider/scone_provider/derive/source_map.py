"""Says which line of the manifests a part of a derived policy comes from, for errors that name what a person wrote."""

from collections.abc import Callable, Mapping
from typing import Any

from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Document, Path, show
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.service import ServiceManifest

Where = Callable[[Path], str]
"""`file:line: path` of what lies at a path below."""
Sources = Mapping[Path, Where]
"""Path in a derived policy → where that was written, and what is below it."""

_ATTESTATION = {"tolerate": "tolerate", "ignore_advisories": "ignore_advisories", "mode": "maa", "url": "maa"}


def at(manifest: Manifest, *path: str | int) -> Where:
    """The same part of a manifest, which goes on below as the policy does."""
    return lambda rest: manifest.where(*path, *rest)


def only(where: str) -> Where:
    """One place, for all that is below."""
    return lambda _: where


def service_sources(mesh: Mesh, manifest: ServiceManifest, *, name: str, environment: Mapping[str, str]) -> Sources:
    """Of a service's policy all but the secrets. `environment`: variable → where its value was said."""
    build = manifest.build
    found: dict[Path, Where] = {
        (): only(manifest.where("build", "name")),
        ("name",): at(mesh, "services", name),
        ("access_policy",): only("owners"),
        ("services", name, "command"): only(manifest.where("build", "command")),
        ("services", name, "pwd"): only(manifest.where("build", "pwd")),
        ("images", name, "injection_files"): at(manifest, "injection_files"),
        **security_sources(mesh),
        **{("services", name, "environment", variable): only(where) for variable, where in environment.items()},
    }
    for index, volume in enumerate(build.volumes):
        found["volumes", volume.name or ""] = at(manifest, "build", "volumes", index)
        found["images", name, "volumes", volume.path or ""] = only(manifest.where("build", "volumes", index))
    return found


def security_sources(mesh: Mesh) -> Sources:
    """Of section `security`, which the Meshfile's `policy` becomes."""
    whole = mesh.where("policy", "maa") if mesh.policy.maa else mesh.where("policy")
    return {
        ("security",): only(whole),
        **{("security", "attestation", key): at(mesh, "policy", said) for key, said in _ATTESTATION.items()},
    }


def refused(
    problems: list[Problem], *, policy: str, sources: Sources, template: Document | None, sections: Mapping[str, Any]
) -> Findings:
    """The problems of a derived policy, each at the line that a person wrote: of the template, where that says so.

    `sources` has the empty path, for what nobody wrote.
    """
    findings = Findings()
    for problem in problems:
        rule = problem.rule
        if template is not None and _says(sections, problem.path):
            where = template.where(problem.path)
        else:
            length = next(length for length in range(len(problem.path), -1, -1) if problem.path[:length] in sources)
            where = sources[problem.path[:length]](problem.path[length:])
            if not length:
                rule = f"the derived policy {policy} breaks a rule: {show(problem.path)}: {rule}"
        findings.add(rule, where=where, fix=problem.fix)
    return findings


def _says(sections: Mapping[str, Any], path: Path) -> bool:
    node: object = sections
    for step in path:
        if not isinstance(node, Mapping):
            return True
        if step not in node:
            return False
        node = node[step]
    return bool(path)
