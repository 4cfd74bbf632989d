"""What the inputs and outputs of a SecurityPolicy say about its revisions."""

from collections.abc import Mapping
from typing import Any, cast

import scone_policy
from scone_policy.model.session import Session
from scone_provider.policy.revisions import Revision, at_cas, private_at_cas
from scone_provider.resources._engine import Props


def private_of(props: Props) -> Mapping[str, object]:
    """Where the program put secret values in which the session language sees none: nested maps that end in true."""
    found = props.get("private")
    return found if isinstance(found, Mapping) else {}


def policy_of(props: Props) -> Mapping[str, Any]:
    """The policy, its one service under its own name."""
    return cast("Mapping[str, Any]", props.get("policy") or {})


def last_released(props: Props) -> Revision | None:
    """The revision that was released before the one of `props`."""
    return Revision.of_json(props.get("kept"))


def without_kept(props: Props) -> Props:
    """The same with one revision alone."""
    return {key: value for key, value in props.items() if key != "kept"}


def wanted_there(props: Props) -> Session:
    """What CAS is to have: where rollouts overlap, with the revision that was released last."""
    policy, revision = policy_of(props), props.get("revision")
    return scone_policy.parse(at_cas(policy, str(revision), last_released(props)) if revision else policy)


def private_there(props: Props) -> Mapping[str, object]:
    """Where the program put secret values, under the names that services have at CAS."""
    revision = props.get("revision")
    if not revision:
        return private_of(props)
    (service,) = policy_of(props)["services"]
    return private_at_cas(private_of(props), service, str(revision), last_released(props))
