"""The session language: models, rules, canonical form, wire form, differences. Pure: no Pulumi, no I/O."""

from scone_policy.errors import PolicyError
from scone_policy.forms.digest import policy_digest
from scone_policy.forms.secret_paths import secret_paths
from scone_policy.model.session import Session, is_retired, retired
from scone_policy.rules.check import parse
from scone_policy.syntax.problems import PolicyErrors

__all__ = ["PolicyError", "PolicyErrors", "Session", "is_retired", "parse", "policy_digest", "retired", "secret_paths"]
