"""The session language: models, rules, canonical form, wire form, differences. Pure: no Pulumi, no I/O."""

from scone_policy.digest import policy_digest
from scone_policy.errors import PolicyError
from scone_policy.problems import PolicyErrors
from scone_policy.session import Session, is_retired, parse, retired, secret_paths

__all__ = ["PolicyError", "PolicyErrors", "Session", "is_retired", "parse", "policy_digest", "retired", "secret_paths"]
