"""`helm_extra_values` of a Meshfile: judged, filled, and written as the chart and Kubernetes want it."""

import re
from collections.abc import Mapping
from typing import Any

from scone_policy.syntax.holes import Later, at_once, has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.yaml_source import Document, Number, show
from scone_provider.derive.kubernetes_rules import control_problems
from scone_provider.derive.kubernetes_values import MODELS, Fitting
from scone_provider.derive.variables import Variables
from scone_provider.errors import ManifestError
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import Mesh

_OWN_VALUES = ("services", "global")


def extra_values(
    mesh: Mesh, variables: Variables, *, names: Mapping[str, str], warnings: list[str], later: Later = at_once
) -> dict[str, Any]:
    """`helm_extra_values` as a map, its variables replaced, written as Kubernetes wants it; what has no effect warns.

    `names`: mesh name → Kubernetes name of every service. Notes a finding for what the chart or Kubernetes could not
    use. Raises ManifestError when an Output stands in its text.
    """
    if mesh.helm_extra_values is None:
        return {}
    where = mesh.where("helm_extra_values")
    if isinstance(mesh.helm_extra_values, str) and has_hole(mesh.helm_extra_values):
        raise ManifestError(
            "an Output cannot stand in a text that is YAML",
            where=where,
            fix="Give it as a variable in env (helm or global), and write {{name}} in its place.",
        )
    document = mesh.helm_values()
    filled: Any = _filled(document.data, variables, where)
    _check_extra(mesh, document, variables.findings, names=names, warnings=warnings)
    found = typed(_fitted(mesh, document, filled, variables.findings, names=names, warnings=warnings, later=later))
    assert isinstance(found, dict)
    return found


def _fitted(
    mesh: Mesh,
    document: Document,
    data: Mapping[str, Any],
    findings: Findings,
    *,
    names: Mapping[str, str],
    warnings: list[str],
    later: Later,
) -> Mapping[str, Any]:
    """The data whose parts that Kubernetes judges are written as it wants them, for services that have our chart."""
    where = mesh.where("helm_extra_values")

    def at(path: tuple[str | int, ...]) -> str:
        return f"{show(path)} (line {document.line(path)} of the text)"

    def refuse(path: tuple[str | int, ...], rule: str) -> None:
        findings.add(f"{at(path)}: {rule}", where=where, fix="Kubernetes would refuse it.")

    for path, rule in control_problems(data):
        refuse(path, rule)
    services, fitted = data.get("services"), {}
    ours = {names[name] for name, service in mesh.services.items() if not service.helm_chart}
    for name, values in services.items() if isinstance(services, Mapping) else ():
        if name not in ours or not isinstance(values, Mapping):
            continue
        fitted[name] = Fitting(refuse=refuse, later=later).service(values, ("services", name))
        for key in sorted(set(map(str, values)) - set(MODELS)):
            near = nearest_word(key, MODELS)
            guess = f"; did you mean {near}?" if near else ""
            warnings.append(f"{at(('services', name, key))} has no effect: the chart reads no {key}{guess} ({where})")
    return {**data, "services": {**services, **fitted}} if isinstance(services, Mapping) else data


def _check_extra(
    mesh: Mesh, document: Document, findings: Findings, *, names: Mapping[str, str], warnings: list[str]
) -> None:
    at = mesh.helm_place
    data: Any = document.data
    charts = {names[name] for name, service in mesh.services.items() if service.helm_chart}
    for key in data:
        if key == "policies":
            named, where = at(key)
            rule = f"{named}: policies are derived, not given"
            findings.add(rule, where=where, fix="Use image_policy of a service.")
        elif key not in (*_OWN_VALUES, *charts):
            near = nearest_word(key, [*_OWN_VALUES, *names.values()])
            guess = f"; did you mean {near if near in _OWN_VALUES else f'services.{near}'}?" if near else ""
            named, where = at(key)
            warnings.append(
                f"{named} has no effect: the chart takes `services`; services' own charts take `global`, and "
                f"what stands under their names{guess} ({where})"
            )
    services = data.get("services", {})
    if not isinstance(services, Mapping):
        named, where = at("services")
        fix = "Write services: {api: {…}}, with the names as they are in the cluster."
        findings.add(f"{named}: must be a map of services", where=where, fix=fix)
        return
    for name, values in services.items():
        named, where = at("services", name)
        if name not in names.values():
            near = names[name] if name in names else nearest_word(name, names.values())
            findings.add(
                f"{named}: the chart has no service {name}",
                where=where,
                fix=f"Did you mean {near}?" if near else f"It has {', '.join(sorted(names.values()))}.",
            )
        elif not isinstance(values, Mapping):
            fix = f"Write {name}: {{resources: {{…}}}}."
            findings.add(f"{named}: must be a map of the service's values", where=where, fix=fix)


def _filled(tree: object, variables: Variables, where: str) -> object:
    """Variables replaced inside of their scalars, as in manifests."""
    if isinstance(tree, str):
        return variables.fill(tree, where=where) if "{{" in tree else tree
    if isinstance(tree, Mapping):
        return {key: _filled(value, variables, where) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_filled(value, variables, where) for value in tree]
    return tree


def typed(tree: object) -> object:
    """A document's numbers as numbers, which Helm templates compare and count with."""
    if isinstance(tree, Number):
        return _number_of(str(tree))
    if isinstance(tree, Mapping):
        return {key: typed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [typed(value) for value in tree]
    # The engine's wire knows floats only.
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree


def _number_of(text: str) -> object:
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}", text):
        return float(text)
    return text
