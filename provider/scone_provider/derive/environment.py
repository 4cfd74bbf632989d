"""The environment of a service: what CAS delivers to the program, and what the container has before attestation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scone_policy.syntax.placeholders import OPENING
from scone_provider.derive.variables import Value, Variables
from scone_provider.manifest.container_variables import value_rule
from scone_provider.manifest.service import ServiceManifest

PREFIX = "SCONE_"
CHART_SETS = frozenset({"SCONE_CONFIG_ID", "SCONE_CAS_ADDR", "SCONE_CAS_KEY", "SCONE_LAS_ADDR"})


@dataclass(frozen=True, kw_only=True)
class ServiceVariables:
    """`delivered` goes into the policy; `container` (`SCONE_*`, read before attestation) into the pod."""

    delivered: Mapping[str, Value] = field(default_factory=dict)
    container: Mapping[str, str] = field(default_factory=dict)


def environment_of(manifest: ServiceManifest, variables: Variables) -> ServiceVariables:
    """Local values as the manifest has them, global ones as the mesh gives them.

    Notes a finding for a global variable without a value, and for a `SCONE_*` variable that the chart sets itself, that
    has a value which it does not take, or that asks for a secret: it acts before CAS could deliver one.
    """
    found: dict[str, Value] = {}
    for name in manifest.environment.global_:
        value = variables.get(name)
        where = manifest.where("environment", "global", name)
        if value is None:
            variables.findings.add(
                f"the service {variables.service} needs a value for the global variable {name}",
                where=where,
                fix=f"Give it in the Meshfile: env, service {variables.service} or global, name {name}.",
            )
        else:
            found[name] = value
    for name, text in manifest.environment.local.items():
        where = manifest.where("environment", "local", name)
        found[name] = Value(text=variables.fill(text, where=where), where=where)
    container = {name: value for name, value in found.items() if name.startswith(PREFIX)}
    for name, value in container.items():
        _check_container(name, value, variables)
    return ServiceVariables(
        delivered={name: value for name, value in found.items() if name not in container},
        container={name: value.text for name, value in sorted(container.items())},
    )


def _check_container(name: str, value: Value, variables: Variables) -> None:
    if rule := value_rule(name, value.text):
        variables.findings.add(rule, where=value.where, fix=f"Correct the value of {name}, or leave it out.")
    if name in CHART_SETS:
        variables.findings.add(f"{name} is set by the chart", where=value.where, fix="Leave it out.")
    if OPENING in value.text:
        variables.findings.add(
            f"{name} acts before CAS delivers anything, so it cannot hold a secret",
            where=value.where,
            fix="Use a variable that does not begin with SCONE_.",
        )
