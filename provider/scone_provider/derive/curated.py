"""The variables of a curated service: what its entry of the catalogue says beside, and above, the Meshfile."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from scone_provider.catalogue.entry import Curated
from scone_provider.derive.chart import typed
from scone_provider.derive.template import filled
from scone_provider.derive.variables import Value, Variables
from scone_provider.errors import ManifestError
from scone_provider.manifest.mesh import Mesh

CHART_VARIABLES = (
    "APP_SERVICE_PORT",
    "imagePullSecrets",
    "replicaCount",
    "restartPolicy",
    "sgxEpcMem",
    "useSGXDevPlugin",
)
_SIZE = re.compile("volume_.+_size")


def settled(curated: Curated, mesh: Mesh, variables: Variables) -> Variables:
    """The variables of a service with its entry's: defaults below what the mesh gives, fixed ones above, choices made.

    Notes a finding for a variable of the service's own section of `env` that means nothing to it, and for a value that
    the entry does not take.
    """
    description = curated.description
    _check_own(curated, mesh, variables)
    defaults = {
        name: Value(text=one.default, where=description.where("variables", name, "default"))
        for name, one in description.variables.items()
    }
    fixed = {name: Value(text=text, where=description.where("fixed", name)) for name, text in description.fixed.items()}
    found = Variables(
        service=variables.service, values={**defaults, **variables.values, **fixed}, findings=variables.findings
    )
    chosen: dict[str, Value] = {}
    for name, one in description.variables.items():
        value = found.get(name)
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
    return Variables(service=found.service, values={**found.values, **chosen}, findings=variables.findings)


def chart_values(curated: Curated, variables: Variables) -> Mapping[str, Any]:
    """What the entry adds to the chart's values of its service. Raises ManifestError when it is no map."""
    if curated.values is None:
        return {}
    found = typed(filled(curated.values, variables).data)
    if not isinstance(found, dict):
        raise ManifestError("must be a map of the chart's values of a service", where=curated.values.where(()))
    return found


def _check_own(curated: Curated, mesh: Mesh, variables: Variables) -> None:
    service, description = variables.service, curated.description
    known = {*description.variables, *CHART_VARIABLES, *curated.manifest.environment.global_} - set(description.fixed)
    for name in mesh.env[service].env if service in mesh.env else ():
        where = mesh.where("env", service, "env", name)
        if name in description.fixed:
            variables.findings.add(
                f"{name} of the service {service} is always {description.fixed[name]}",
                where=where,
                fix=f"Leave it out; its variables are {', '.join(sorted(description.variables))}.",
            )
        elif name not in known and not _SIZE.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            variables.findings.add(
                f"the service {service} has no variable {name}",
                where=where,
                fix=f"Did you mean {near[0]}?" if near else f"It has {', '.join(sorted(description.variables))}.",
            )
