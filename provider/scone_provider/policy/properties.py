"""What the inputs and outputs of a policy's resource say: the policy, its revisions, how it is treated, which CAS."""

from collections.abc import Mapping
from typing import Any, cast

import scone_policy
from scone_policy.model.session import Session
from scone_policy.rules.check import creator_problem
from scone_provider.cas.trust import CasTrust
from scone_provider.errors import PolicyError
from scone_provider.policy.revisions import Revision, at_cas, private_at_cas
from scone_provider.policy.state import PLAIN, plain_secret

Props = dict[str, object]
CHANGED_ELSEWHERE = "changed_elsewhere"
"""What a refresh found that others wrote: version → who and what."""


def stated_session(props: Props) -> Session:
    """The session that new inputs give. Raises PolicyError where it is none, or no program may give it."""
    if isinstance(where := private_of(props).get(PLAIN), str):
        raise plain_secret(where)
    if private_of(props).get("name"):
        raise PolicyError(
            "the name of a policy cannot be a secret: it stands in CAS's log and addresses, and in pods",
            where="name",
            fix="give it as what it is: pulumi.Output.unsecret(…)",
        )
    session = scone_policy.parse(policy_of(props))
    if (problem := creator_problem(session)) is not None:
        raise PolicyError(problem.rule, where="creator", fix=problem.fix)
    return session


def private_of(props: Props) -> Mapping[str, object]:
    """Where the program put secret values in which the session language sees none: nested maps that end in true."""
    found = props.get("private")
    return found if isinstance(found, Mapping) else {}


def policy_of(props: Props) -> Mapping[str, Any]:
    """The policy, its one service under its own name."""
    return cast("Mapping[str, Any]", props.get("policy") or {})


def treatment(props: Props) -> Props:
    """Inputs that say how to treat the policy, not what it is."""
    adopt: Props = {"adopt": True} if props.get("adopt") else {}
    return adopt | ({"private": private_of(props)} if props.get("private") else {})


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


def is_other_policy(olds: Props, news: Props) -> bool:
    """Whether CAS is to have other content than the version that `olds` stands for."""
    return any(olds.get(key) != news.get(key) for key in ("policy", "revision"))


def trust_url(props: Props) -> object:
    """The url of the CAS; None where there is none."""
    cas = props.get("cas")
    return cas.get("url") if isinstance(cas, Mapping) else None


def known_key(olds: Props, news: Props) -> str | None:
    """The key seen first; `None` where the program pins one itself, or has gone to another CAS."""
    trust = CasTrust.from_props(news["cas"])
    return None if trust.key or trust.url != trust_url(olds) else str(olds["attested_key"])
