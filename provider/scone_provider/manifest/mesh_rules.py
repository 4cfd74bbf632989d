"""Rules of a Meshfile that look across its sections."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.problems import Problem
from scone_provider.cas.address import CasAddress
from scone_provider.errors import ManifestError
from scone_provider.manifest.fields import is_open
from scone_provider.manifest.mesh import CHARTS, EVERYONE, ROLES, Cas, Mesh, MeshPolicy
from scone_provider.manifest.variables import read_inner


def mesh_problems(mesh: Mesh) -> list[Problem]:
    """Rules that look across the sections: roles, who decides on attestation, env for known services, a service."""
    found: list[Problem] = []
    if not mesh.services:
        found.append(Problem(path=("services",), rule="a mesh needs at least one service"))
    found += _role_problems(mesh)
    found += _policy_problems(mesh.policy)
    found += _helm_problems(mesh.helm_extra_values)
    for service in sorted(set(mesh.env) - {EVERYONE, CHARTS} - set(mesh.services)):
        near = nearest_word(service, [*mesh.services, EVERYONE, CHARTS])
        rule = f"env names the service {service}, which is not among the services"
        found.append(Problem(path=("env", service), rule=rule, fix=f"Did you mean {near}?" if near else ""))
    return found


def _role_problems(mesh: Mesh) -> Iterator[Problem]:
    for role in ROLES:
        filled = [name for name, cas in mesh.cas.items() if role == name or role in cas.alias]
        if len(filled) != 1:
            who = "no CAS fills" if not filled else f"{' and '.join(filled)} all fill"
            rule = f"{who} the role {role}: exactly one must, by its name or its alias"
            called = [one for name, cas in mesh.cas.items() for one in (name, *cas.alias) if one not in ROLES]
            near = None if filled else nearest_word(role, called)
            fix = f"Did you mean {role} by {near}?" if near else f"Put {role} into the alias list of one CAS."
            yield Problem(path=("cas",), rule=rule, fix=fix)
    for (one, first), (other, second) in combinations(mesh.cas.items(), 2):
        if _address(first) is not None and _address(first) == _address(second):
            rule = f"{one} and {other} are the same CAS, {first.cas_url}"
            yield Problem(path=("cas", other), rule=rule, fix=f"Put {other} into the alias list of {one}.")


def _address(cas: Cas) -> tuple[str, int] | None:
    """Host and port, however they are spelt; None while they are open."""
    if is_open(cas.cas_url):
        return None
    found = CasAddress.parse(cas.cas_url, {})
    return found.host.lower(), found.port


def _helm_problems(values: str | Mapping[str, Any] | None) -> Iterator[Problem]:
    """What is to be YAML in the Meshfile's YAML. With an Output in it, it can be judged when it is used."""
    if not isinstance(values, str) or has_hole(values):
        return
    path = ("helm_extra_values",)
    try:
        data = read_inner(values).data
    except ManifestError as error:
        yield Problem(path=path, rule=f"{error.where} of the text: {error.what}", fix=error.fix)
        return
    if not isinstance(data, Mapping):
        yield Problem(path=path, rule="must be a map, or YAML text that holds a map")


def _policy_problems(policy: MeshPolicy) -> Iterator[Problem]:
    """What is taken by reference stands nowhere else: a second place would be ignored without a word."""
    if policy.security_policy_name and policy.attestation_policy_name:
        rule = "security_policy_name takes the whole section security from elsewhere, attestation included"
        yield Problem(path=("policy", "attestation_policy_name"), rule=rule, fix="Leave one of the two out.")
    for taken in ("security_policy_name", "attestation_policy_name"):
        for key in ("tolerate", "ignore_advisories", "maa"):
            if getattr(policy, taken) and getattr(policy, key):
                rule = f"what attestation puts up with is decided by {taken}, so {key} would have no effect"
                yield Problem(path=("policy", key), rule=rule, fix=f"Leave {key} out, or {taken}.")
