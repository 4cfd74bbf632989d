"""Which policy holds which secret of a mesh, and who imports it from there.

A secret that a sibling imports lives in the policy that the services share, exported to exactly the services that use
it; any other one lives in the policy of the service that defines it. What is tied to a shared secret (the key of a
certificate, its issuer, whatever that issuer signs) lives beside it, so that no authority's key leaves that policy
(docs/meshes.md, Secrets).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scone_policy.syntax.placeholders import Placeholder, parts, resolve
from scone_provider.derive.source_map import Where, at, only
from scone_provider.derive.variables import Value, Variables
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.service import ServiceManifest

Definition = Mapping[str, Any]
Node = tuple[str, str]
"""A service and the name of a secret that it defines."""

_TIES = ("private_key", "issuer", "signer")
_NAME = re.compile(r"[A-Za-z0-9_\-.~]{1,128}")
_NO_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Home:
    """The policy that holds what is shared. Its CAS's url and key are given where importers are on another CAS."""

    session: str
    cas_url: str | None = None
    cas_key: str | None = None

    def import_of(self, name: str) -> dict[str, str]:
        """What an importer writes."""
        found = {"session": self.session, "secret": name}
        if self.cas_url is not None and self.cas_key is not None:
            found |= {"cas_url": self.cas_url, "cas_key": self.cas_key}
        return found


@dataclass(frozen=True, kw_only=True)
class SecretPlan:
    """Secrets in canonical form: those of the shared policy, and those of each service by the mesh's names.

    The `…_sources` say where each of them was written.
    """

    shared: Mapping[str, Definition] = field(default_factory=dict, repr=False)
    by_service: Mapping[str, Mapping[str, Definition]] = field(default_factory=dict, repr=False)
    shared_sources: Mapping[str, Where] = field(default_factory=dict, repr=False)
    service_sources: Mapping[str, Mapping[str, Where]] = field(default_factory=dict, repr=False)


def plan_secrets(
    *,
    namespace: str,
    home: Home,
    manifests: Mapping[str, ServiceManifest],
    variables: Mapping[str, Variables],
    texts: Mapping[str, Sequence[Value]],
    findings: Findings,
    known_as: Mapping[str, str] = _NO_NAMES,
) -> SecretPlan:
    """Place every secret. `texts`: what each service is given, in which placeholders stand. `known_as`: names that
    secrets have in the vendor's images, and their names here.

    Notes a finding for an import that no sibling, or more than one, defines, and for two services' secrets that would
    have to share a name.
    """
    definitions, wheres = _definitions(manifests, variables)
    users = _users(manifests, findings, known_as)
    names = _names(definitions, users)
    moved = _moved(definitions, users, names)
    by_service: dict[str, dict[str, Definition]] = {service: {} for service in manifests}
    shared: dict[str, Definition] = {}
    owner: dict[str, Node] = {}
    sources: dict[str, dict[str, Where]] = {service: {} for service in manifests}
    for node, definition in definitions.items():
        service, name = node
        sources[service][name] = wheres[node]
        if node not in moved:
            by_service[service][name] = definition
            continue
        if name in owner:
            findings.add(
                f"{owner[name][0]} and {service} both define a secret {name} that is tied to what services share",
                where=wheres[node](()),
                fix="Give the two secrets different names.",
            )
        owner[name] = node
        used = [service] if name in _used(texts[service], names[service], definitions) else []
        receivers = [*used, *users.get(node, ())]
        shared[name] = _exported(definition, [f"{namespace}/{receiver}" for receiver in receivers])
        for receiver in receivers:
            by_service[receiver][name] = _imported(home, name, definition)
            sources[receiver].setdefault(name, only(manifests[receiver].where("secrets", "import", name)))
    return SecretPlan(
        shared=_with_kept_authorities(shared),
        by_service={service: _with_kept_authorities(secrets) for service, secrets in by_service.items()},
        shared_sources={name: wheres[node] for name, node in owner.items()},
        service_sources=sources,
    )


def _definitions(
    manifests: Mapping[str, ServiceManifest], variables: Mapping[str, Variables]
) -> tuple[dict[Node, Definition], dict[Node, Where]]:
    found: dict[Node, Definition] = {}
    wheres: dict[Node, Where] = {}
    for service, manifest in manifests.items():
        for section, secrets in (("local", manifest.secrets.local), ("global", manifest.secrets.global_)):
            for name, raw in secrets.items():
                where = at(manifest, "secrets", section, name)
                found[service, name] = _filled(raw, variables[service], where(()))
                wheres[service, name] = where
    return found, wheres


def _users(
    manifests: Mapping[str, ServiceManifest], findings: Findings, known_as: Mapping[str, str]
) -> dict[Node, tuple[str, ...]]:
    """A secret → the siblings that import it."""
    found: dict[Node, tuple[str, ...]] = {}
    for service, manifest in manifests.items():
        for name in dict.fromkeys(manifest.secrets.import_):
            where = manifest.where("secrets", "import", name)
            definers = [
                other for other, sibling in manifests.items() if other != service and name in sibling.secrets.global_
            ]
            if name in manifest.secrets.local or name in manifest.secrets.global_:
                findings.add(
                    f"the secret {name} is both imported and defined by the service {service}",
                    where=where,
                    fix="Keep one of the two.",
                )
            elif not definers:
                findings.add(
                    f"no other service of the mesh defines the secret {name} among its global ones",
                    where=where,
                    fix=_nearest(service, name, manifests, known_as)
                    or f"Define {name} under secrets.global of the service that owns it.",
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


def _nearest(service: str, name: str, manifests: Mapping[str, ServiceManifest], known_as: Mapping[str, str]) -> str:
    """Which secret of a sibling was meant by a name that nobody defines; empty where none is near."""
    if name in known_as:
        return f"Did you mean {known_as[name]}? {name} is its name in the vendor's image."
    siblings = (one for other, one in manifests.items() if other != service)
    known = {one.lower(): one for sibling in siblings for one in sibling.secrets.global_}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f"Did you mean {known[near[0]]}? Else define {name} under secrets.global of its service." if near else ""


def _names(definitions: Mapping[Node, Definition], users: Mapping[Node, Sequence[str]]) -> dict[str, dict[str, Node]]:
    """Service → what each name of a secret means there: its own, or one that it imports."""
    found: dict[str, dict[str, Node]] = {}
    for service, name in definitions:
        found.setdefault(service, {})[name] = (service, name)
    for node, receivers in users.items():
        for receiver in receivers:
            found.setdefault(receiver, {}).setdefault(node[1], node)
    return {service: found.get(service, {}) for service in {service for service, _ in definitions} | set(found)}


def _moved(
    definitions: Mapping[Node, Definition], users: Mapping[Node, Sequence[str]], names: Mapping[str, Mapping[str, Node]]
) -> set[Node]:
    """The secrets that a sibling imports, and everything tied to them, however far."""
    ties: dict[Node, set[Node]] = {node: set() for node in definitions}
    for node, definition in definitions.items():
        for name in _tied(definition):
            other = names[node[0]].get(name)
            if other is not None:
                ties[node].add(other)
                ties[other].add(node)
    found: set[Node] = set()
    ahead = [node for node in users if node in ties]
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead += ties[node]
    return found


def _tied(definition: Definition) -> Iterator[str]:
    """Names of secrets that this one is made with: its key, its issuer, its signer, what its payload holds."""
    for key in _TIES:
        text = definition.get(key)
        if isinstance(text, str) and _NAME.fullmatch(text):
            yield text
    for text in (definition.get("payload") or {}).values():
        for piece in parts(text):
            if isinstance(piece, Placeholder):
                yield piece.name


def _used(texts: Sequence[Value], names: Mapping[str, Node], definitions: Mapping[Node, Definition]) -> frozenset[str]:
    """Names of the secrets for which placeholders stand in the texts; what is misspelt is judged elsewhere."""
    kinds = {name: definitions[node].get("kind") for name, node in names.items()}
    found: set[str] = set()
    for value in texts:
        try:
            pieces = parts(value.text)
        except ValueError:
            continue
        for piece in pieces:
            if isinstance(piece, Placeholder) and piece.is_open:
                found.update(names)  # any of them, once its name is known
            elif isinstance(piece, Placeholder):
                try:
                    found.add(resolve(piece, kinds)[0])
                except ValueError:
                    found.add(piece.name)
    return frozenset(found)


def _filled(tree: Any, variables: Variables, where: str) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(tree, str):
        return variables.fill(tree, where=where)
    if isinstance(tree, Mapping):
        return {variables.fill(key, where=where): _filled(value, variables, where) for key, value in tree.items()}
    return tree


def _exported(definition: Definition, receivers: list[str]) -> Definition:
    own = dict(definition.get("export", {}))
    export = {**own, **{receiver: {"session": True} for receiver in receivers}}
    return {**definition, "export": export} if export else definition


def _imported(home: Home, name: str, definition: Definition) -> Definition:
    kind = {"kind": definition["kind"]} if "kind" in definition else {}
    return {**kind, "import": home.import_of(name)}


def _with_kept_authorities(secrets: Mapping[str, Definition]) -> dict[str, Definition]:
    """Keys of authorities are kept over an update, so that certificates given out before still verify."""
    keys = {one.get("private_key") for one in secrets.values() if one.get("kind") == "x509-ca"}
    return {
        name: {**one, "migrate": True} if name in keys and _is_generated_key(one) else one
        for name, one in secrets.items()
    }


def _is_generated_key(definition: Definition) -> bool:
    return definition.get("kind") == "private-key" and not {"value", "import", "import_akv"} & set(definition)
