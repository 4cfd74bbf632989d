"""The variables of a curated service: what its entry of the catalogue says beside, and above, the Meshfile."""

import difflib
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from scone_policy.syntax.holes import Later, at_once
from scone_policy.syntax.yaml_source import Document, show
from scone_provider.catalogue.entry import Curated
from scone_provider.derive.extra_values import typed
from scone_provider.derive.kubernetes_rules import control_problems
from scone_provider.derive.kubernetes_values import Fitting
from scone_provider.derive.policy_template import filled
from scone_provider.derive.variables import Value, Variables, names_in
from scone_provider.errors import ManifestError
from scone_provider.manifest.mesh import CHARTS, EVERYONE, Mesh
from scone_provider.manifest.service import ServiceManifest

_BLOCK = re.compile(r"[ \t]*\|[-+0-9]*[ \t]*\n")
CHART_VARIABLES = (
    "APP_SERVICE_PORT",
    "imagePullSecrets",
    "replicaCount",
    "restartPolicy",
    "sgxEpcMem",
    "useSGXDevPlugin",
)


def settled(curated: Curated, mesh: Mesh, variables: Variables) -> Variables:
    """The variables of a service with its entry's: defaults below what the mesh gives, fixed ones above, choices made.

    Notes a finding for a value of the service's own section of `env` that is the entry's to say, and for one that the
    entry does not take.
    """
    description = curated.description
    for name in sorted(_given(mesh, variables.service) & set(description.fixed)):
        variables.findings.add(
            f"{name} of the service {variables.service} is always {description.fixed[name]}",
            where=mesh.where("env", variables.service, "env", name),
            fix=f"Leave it out; its variables are {', '.join(sorted(description.variables))}.",
        )
    defaults = {
        name: Value(text=one.default, where=description.where("variables", name, "default"))
        for name, one in description.variables.items()
    }
    fixed = {name: Value(text=text, where=description.where("fixed", name)) for name, text in description.fixed.items()}
    found = Variables(
        service=variables.service,
        values={**defaults, **_called_otherwise(curated, variables), **variables.values, **fixed},
        findings=variables.findings,
    )
    found.used.update(alias for one in description.variables.values() for alias in one.aliases)
    chosen: dict[str, Value] = {}
    for name, one in description.variables.items():
        value = found.get(name)
        if value is not None and one.given:
            text = _unfolded(value.text) if one.block else value.text
            more = {**one.given, f"{name}_text": text} if text else dict.fromkeys(one.given, "")
            chosen |= {called: Value(text=filled, where=value.where) for called, filled in more.items()}
        if value is None or not one.fits(value.text):
            variables.findings.add(
                f"{name} of the service {variables.service} must be {one.takes}",
                where=found.values[name].where,
                fix=f"It is: {one.meaning}.",
            )
        if one.choices:
            # After a wrong choice the others would only be told to be missing.
            choice = value.text if value is not None and value.text in one.choices else next(iter(one.choices))
            where = description.where("variables", name, "choices", choice)
            chosen |= {more: Value(text=text, where=where) for more, text in one.choices[choice].items()}
    return Variables(
        service=found.service, values={**found.values, **chosen}, findings=variables.findings, used=found.used
    )


def _called_otherwise(curated: Curated, variables: Variables) -> dict[str, Value]:
    """Values of variables that the mesh gives under another of their names."""
    found = {}
    for name, one in curated.description.variables.items():
        alias = next((alias for alias in one.aliases if alias in variables.values), None)
        if alias is not None:
            found[name] = variables.values[alias]
    return found


def _unfolded(text: str) -> str:
    """A text of several lines; one whose first line is YAML's sign for a block is read as that."""
    match = _BLOCK.match(text)
    return text if match is None else textwrap.dedent(text[match.end() :])


def known_as(curated: Mapping[str, Curated]) -> dict[str, str]:
    """Names of secrets in the vendor's images → what they are called here."""
    return {name: here for one in curated.values() for name, here in one.description.secrets.items()}


def chart_values(curated: Curated, variables: Variables, *, later: Later = at_once) -> Mapping[str, Any]:
    """What the entry adds to the chart's values of its service, written as Kubernetes wants it.

    Notes a finding for what Kubernetes could not use. Raises ManifestError when it is no map.
    """
    if curated.values is None:
        return {}
    document = curated.values
    found = filled(document, variables).data
    if not isinstance(found, dict):
        raise ManifestError(
            "must be a map of the chart's values of a service",
            where=curated.values.where(()),
            fix="Write it as the values.yaml of the package's entries: resources: {limits: {memory: 256Mi}}",
        )

    def refuse(path: tuple[str | int, ...], rule: str) -> None:
        variables.findings.add(f"{show(path)}: {rule}", where=document.where(path), fix="Kubernetes would refuse it.")

    for path, rule in control_problems(found):
        refuse(path, rule)
    fitted = typed(Fitting(refuse=refuse, later=later).service(found, ()))
    assert isinstance(fitted, dict)
    return fitted


def unused(
    curated: Curated, mesh: Mesh, variables: Variables, *, manifest: ServiceManifest, template: Document | None
) -> list[str]:
    """A warning for each variable of the service's own section of `env` that nothing uses.

    `manifest` and `template` are those that count: with the files that the Meshfile names beside the service. Notes a
    finding for one that is a misspelt other one.
    """
    service, warnings = variables.service, []
    used = _used(curated, mesh, service, manifest=manifest, template=template)
    fixed = set(curated.description.fixed)
    known = {name.lower(): name for name in sorted(used - fixed)}
    for name in sorted(_given(mesh, service) - used - fixed):
        where = mesh.where("env", service, "env", name)
        if name in curated.description.advice:
            advice = curated.description.advice[name]
            warnings.append(f"{name} has no effect on the service {service}: {advice} ({where})")
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
        if near:
            fix = f"Did you mean {known[near[0]]}?"
            variables.findings.add(f"the service {service} has no variable {name}", where=where, fix=fix)
        else:
            warnings.append(
                f"{name} has no effect on the service {service}: nothing uses it; its variables are "
                f"{', '.join(sorted(curated.description.variables))} ({where})"
            )
    return warnings


def _given(mesh: Mesh, service: str) -> set[str]:
    return set(mesh.env[service].env) if service in mesh.env else set()


def _used(
    curated: Curated, mesh: Mesh, service: str, *, manifest: ServiceManifest, template: Document | None
) -> set[str]:
    """The names of variables that have an effect on the service."""
    description, documents = curated.description, (template, curated.values)
    texts = [
        manifest.model_dump(warnings=False),
        [document.data for document in documents if document is not None],
        [section.env for name, section in mesh.env.items() if name in (EVERYONE, CHARTS, service)],
        [(one.default, one.choices, one.given) for one in description.variables.values()],
        description.fixed,
    ]
    volumes = [volume.name for volume in manifest.build.volumes]
    more = template.data.get("volumes") if template is not None and isinstance(template.data, Mapping) else None
    volumes += [str(one.get("name") if isinstance(one, Mapping) else one) for one in more or ()]
    sizes = {f"volume_{name}_size" for name in volumes}
    aliases = [alias for one in description.variables.values() for alias in one.aliases]
    return {*description.variables, *aliases, *CHART_VARIABLES, *manifest.environment.global_, *sizes, *names_in(texts)}
