"""`CasNamespace`: a CAS that is attested first, and a namespace on it."""

from collections.abc import Mapping
from typing import Any

import pulumi

from pulumi_scone._arguments import CasNamespaceArgs
from pulumi_scone._values import user_errors
from pulumi_scone.resources import Cas, SecurityPolicy
from scone_provider.trust import tolerance_map


class CasNamespace(pulumi.ComponentResource):
    """Attests a CAS and keeps the session that makes a namespace.

    Policies below it depend on it: `opts=ResourceOptions(depends_on=[namespace])`.
    """

    namespace: pulumi.Output[str]
    """Name of the namespace."""
    attested_key: pulumi.Output[str]
    """Key hash that CAS was attested with."""

    def __init__(self, name: str, args: CasNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        summary = {"namespace": args["namespace"], "cas_url": args["cas_url"]}
        super().__init__("scone:index:CasNamespace", name, summary, opts)
        with user_errors():
            tolerance = tolerance_map(args.get("tolerance", ""))
        self.trust: Mapping[str, Any] = {"url": args["cas_url"], "tolerance": tolerance, "key": args.get("cas_key")}
        """How policies of this namespace trust its CAS, as `SecurityPolicy(cas=…)` takes it."""
        child = pulumi.ResourceOptions(parent=self)
        self.cas = Cas(name, url=args["cas_url"], tolerance=tolerance, key=args.get("cas_key"), opts=child)
        self.policy = SecurityPolicy(
            name,
            cas=self.trust,
            policy=args.get("policy") or _own_policy(args),
            adopt=bool(args.get("adopt")),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.cas]),
        )
        self.namespace = self.policy.name
        self.attested_key = self.cas.attested_key
        self.register_outputs({"namespace": self.namespace, "attested_key": self.attested_key})


def _own_policy(args: CasNamespaceArgs) -> Mapping[str, Any]:
    owners = dict.fromkeys(args.get("owners") or ["CREATOR"], True)
    return {
        "name": args["namespace"],
        "version": "0.3.10",
        "access_policy": {"read": owners, "update": owners, "create_sessions": owners},
    }
