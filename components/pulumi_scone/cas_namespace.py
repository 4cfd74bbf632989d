"""`CasNamespace`: a CAS that is attested first, and a namespace on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from pulumi_scone._arguments import CasNamespaceArgs
from pulumi_scone._inputs import check_arguments, given_variables, read_mesh, refuse_in_production
from pulumi_scone._outputs import Outputs, is_later, settled, user_errors, warn
from pulumi_scone._policy_delivery import CasTarget, policy_of
from pulumi_scone.resources import Cas
from scone_policy.errors import SconeError
from scone_policy.model.session import VERSION
from scone_provider.cas.trust import testing_switches, tolerance_map
from scone_provider.derive.variable_substitution import filled_mesh
from scone_provider.manifest.mesh import MODES, UPLOAD
from scone_provider.manifest.outputs import INSTEAD, refuse_outputs
from scone_provider.manifest.variables import ReadVariables

_PLACE = ("namespace", "cas_url", "tolerance", "cas_key", "mode", "cas_encryption_key")


class CasNamespace(pulumi.ComponentResource):
    """Attests a CAS and keeps the session that makes a namespace.

    Policies below it depend on it: `opts=ResourceOptions(depends_on=[namespace])`.
    """

    namespace: pulumi.Output[str]
    """Name of the namespace."""
    attested_key: pulumi.Output[str]
    """Key hash that CAS was attested with."""

    def __init__(self, name: str, args: CasNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        with user_errors():
            args = settled(args)
            check_arguments(args, CasNamespaceArgs)
            place = _place(args)
            tolerance = tolerance_map(place.tolerance)
            refuse_in_production({place.tolerance_at: testing_switches(place.tolerance)})
        summary = {"namespace": place.namespace, "cas_url": place.cas_url}
        super().__init__("scone:index:CasNamespace", name, summary, opts)
        for warning in place.warnings:
            warn(warning, self)
        self.trust: Mapping[str, Any] = {"url": place.cas_url, "tolerance": tolerance, "key": place.cas_key}
        """How policies of this namespace trust its CAS, as `SecurityPolicy(cas=…)` takes it."""
        self.way = CasTarget(cas="cas", trust=self.trust, mode=place.mode, recipient=place.encryption_key)
        """How policies of this namespace get to its CAS."""
        child = pulumi.ResourceOptions(parent=self)
        self.cas = Cas(name, url=place.cas_url, tolerance=tolerance, key=place.cas_key, opts=child)
        self.policy = policy_of(
            name,
            way=self.way,
            # It names a file, where the mode makes one; then it is plain text.
            session=place.namespace if isinstance(place.namespace, str) else "",
            policy=args.get("policy") or _own_policy(place.namespace, args.get("owners") or ()),
            adopt=bool(args.get("adopt")),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.cas]),
        )
        self.namespace = self.policy.name
        self.attested_key = self.cas.attested_key
        self.register_outputs({"namespace": self.namespace, "attested_key": self.attested_key})


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Which namespace on which CAS, and how that is trusted."""

    namespace: pulumi.Input[str]
    cas_url: pulumi.Input[str]
    tolerance: str
    tolerance_at: str = "tolerance"
    cas_key: pulumi.Input[str] | None
    mode: str = UPLOAD
    encryption_key: pulumi.Input[str] | None = None
    warnings: Sequence[str] = ()


def _place(args: CasNamespaceArgs) -> _Place:
    given = [key for key in _PLACE if key in args]
    if "mesh_file" not in args:
        if "namespace" not in args or "cas_url" not in args:
            raise SconeError("CasNamespace needs namespace and cas_url", fix="give both, or a mesh_file that has them")
        mode = _mode(args.get("mode") or UPLOAD)
        if mode != UPLOAD and is_later(args["namespace"]):
            raise SconeError(
                f"an Output cannot stand here with the mode {mode}: the document's file is named like the namespace",
                where="namespace",
                fix=INSTEAD,
            )
        return _Place(
            namespace=args["namespace"],
            cas_url=args["cas_url"],
            tolerance=args.get("tolerance", ""),
            cas_key=args.get("cas_key"),
            mode=mode,
            encryption_key=args.get("cas_encryption_key"),
        )
    if given:
        raise SconeError(f"mesh_file and {given[0]} are both given", fix="leave one of them out")
    values = Outputs()
    variables = ReadVariables(given_variables(args, values))
    mesh = filled_mesh(read_mesh(args["mesh_file"], None, variables, values), release=None)
    refuse_outputs(mesh.document, kind="mesh")
    cas = mesh.cas_of("cas")
    return _Place(
        namespace=values.show(mesh.policy.namespace),
        cas_url=values.show(cas.cas_url),
        tolerance=cas.tolerance or "",
        tolerance_at=mesh.where("cas", mesh.cas_name("cas"), "tolerance"),
        cas_key=values.show(cas.cas_key) if cas.cas_key else None,
        mode=cas.mode,
        encryption_key=values.show(cas.cas_encryption_key) if cas.cas_encryption_key else None,
        warnings=variables.unread(),
    )


def _mode(text: str) -> str:
    if text not in MODES:
        raise SconeError(f"{text} is no upload mode", where="mode", fix=f"give one of {', '.join(MODES)}")
    return text


def _own_policy(namespace: pulumi.Input[str], owners: Sequence[pulumi.Input[str]]) -> Mapping[str, Any]:
    # An Output is no key: it stands under a number (session language, sets as maps).
    entries = {
        f"unknown-{number}" if is_later(owner) else owner: owner if is_later(owner) else True
        for number, owner in enumerate(owners or ["CREATOR"])
    }
    return {
        "name": namespace,
        "version": VERSION,
        "access_policy": {"read": entries, "update": entries, "create_sessions": entries},
    }
