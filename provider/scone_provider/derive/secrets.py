"""Which policy holds which secret of a mesh, and who imports it from there.

A secret that a sibling imports lives in the namespace's policy, exported to exactly the services that use it; any other
one lives in the policy of the service that defines it (docs/architecture.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scone_provider.derive.variables import Variables
from scone_provider.manifest.problems import Findings
from scone_provider.manifest.service import ServiceManifest

Definition = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SecretPlan:
    """Secrets in canonical form: those of the namespace's policy, and those of each service by the mesh's names."""

    shared: Mapping[str, Definition] = field(default_factory=dict, repr=False)
    by_service: Mapping[str, Mapping[str, Definition]] = field(default_factory=dict, repr=False)


def plan_secrets(
    namespace: str, manifests: Mapping[str, ServiceManifest], variables: Mapping[str, Variables], findings: Findings
) -> SecretPlan:
    """Place every secret.

    Notes a finding for an import that no sibling, or more than one, defines, and for a name that a service has twice.
    """
    users = _users(manifests, findings)
    shared: dict[str, Definition] = {}
    by_service: dict[str, dict[str, Definition]] = {service: {} for service in manifests}
    for service, manifest in manifests.items():
        for section, secrets in (("local", manifest.secrets.local), ("global", manifest.secrets.global_)):
            for name, raw in secrets.items():
                where = manifest.where("secrets", section, name)
                if name in by_service[service]:
                    findings.add(f"the service {service} has two secrets named {name}", where=where)
                definition = _filled(raw, variables[service], where)
                importers = users.get((service, name), ()) if section == "global" else ()
                if not importers:
                    by_service[service][name] = definition
                    continue
                shared[name] = _exported(definition, [f"{namespace}/{user}" for user in (service, *importers)])
                for user in (service, *importers):
                    by_service[user][name] = _imported(namespace, name, definition)
    return SecretPlan(shared=shared, by_service=by_service)


def _users(manifests: Mapping[str, ServiceManifest], findings: Findings) -> dict[tuple[str, str], tuple[str, ...]]:
    """(defining service, secret) → the siblings that import it."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for service, manifest in manifests.items():
        for name in manifest.secrets.import_:
            where = manifest.where("secrets", "import", name)
            definers = [
                other for other, sibling in manifests.items() if other != service and name in sibling.secrets.global_
            ]
            if name in manifest.secrets.local or name in manifest.secrets.global_:
                findings.add(f"the secret {name} is both imported and defined by the service {service}", where=where)
            elif not definers:
                findings.add(
                    f"no other service of the mesh defines the secret {name} among its global ones",
                    where=where,
                    fix=f"Define {name} under secrets.global of the service that owns it.",
                )
            elif len(definers) > 1:
                findings.add(
                    f"the secret {name} is defined by {' and '.join(definers)}: which one is meant is not clear",
                    where=where,
                    fix="Give the secrets different names.",
                )
            else:
                key = (definers[0], name)
                found[key] = (*found.get(key, ()), service)
    return found


def _filled(tree: Any, variables: Variables, where: str) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(tree, str):
        return variables.fill(tree, where=where)
    if isinstance(tree, Mapping):
        return {variables.fill(key, where=where): _filled(value, variables, where) for key, value in tree.items()}
    return tree


def _exported(definition: Definition, receivers: list[str]) -> Definition:
    own = dict(definition.get("export", {}))
    return {**definition, "export": {**own, **{receiver: {"session": True} for receiver in receivers}}}


def _imported(namespace: str, name: str, definition: Definition) -> Definition:
    kind = {"kind": definition["kind"]} if "kind" in definition else {}
    return {**kind, "import": {"session": namespace, "secret": name}}
