"""A secret of another CAS, as what asks for it and what is asked for it both know it."""

from dataclasses import dataclass

from scone_cas.errors import Reason, Refusal
from scone_policy.model.secret_sharing import Import


@dataclass(frozen=True, kw_only=True)
class RemoteSecret:
    """A secret of another CAS, and for whom: a session with its hash. `where` is the import's place, for errors.

    `kind` is None where the importer takes any. Evidence that says debug counts only with `tolerates_debug`.
    """

    importer: str
    importer_hash: str
    tolerates_debug: bool
    kind: str | None
    source: Import
    where: str


def check_kind(found: str | None, wanted: str | None, where: str, name: str) -> None:
    """Raises Refusal when a secret is of another kind than its importer says."""
    if None not in (found, wanted) and found != wanted:
        raise Refusal(Reason.INVALID, f"{where}: '{name}' has the kind {found}, not {wanted}")
