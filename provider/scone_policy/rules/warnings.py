"""What the language allows but nobody should be surprised by: said as warnings, never as a refusal."""

from collections.abc import Iterator

from scone_policy.model.secrets import Secret
from scone_policy.model.security import ALL_ADVISORIES, DEBUG_MODE
from scone_policy.model.session import Session
from scone_policy.rules.check import creator_problem
from scone_policy.rules.placeholder_texts import texts
from scone_policy.rules.references import dangling_entries
from scone_policy.rules.secret_names import kinds_of
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import SELF, Placeholder, is_reference, parts, resolve, text_form
from scone_policy.syntax.problems import Problem

_BYTES = ("fspf_key", "one_time_password_shared_secret")
"""Keys with a form of their own, which other rules judge."""


def cautions(session: Session) -> list[Problem]:
    """What to warn of in a session that breaks no rule, in the order of its sections."""
    return [
        *_created(session),
        *_advisories(session),
        *dangling_entries(session),
        *_ignored(session),
        *_raw_bytes(session),
    ]


def _created(session: Session) -> Iterator[Problem]:
    """What a CAS printed may be uploaded again; nobody becomes the creator by writing so."""
    if session.creator is not None and creator_problem(session) is None:
        yield Problem(
            path=("creator",),
            rule="is filled in by CAS: what was printed here is ignored",
            fix="Leave it out.",
        )


def _ignored(session: Session) -> Iterator[Problem]:
    """What says how CAS would make a secret that it does not make, and a tenant or client that is left empty."""
    for name, secret in session.secrets.items():
        how = "a given value" if secret.value is not None else "an import"
        for key in secret.ignored:
            rule = f"{key} means nothing beside {how}, which decides it"
            yield Problem(path=("secrets", name, key), rule=rule, fix="Leave it out.")
        for key, what in (("tenant_id", "tenant"), ("client_id", "client")):
            if getattr(secret, key) == "":
                rule = f"the {what} is empty: CAS can fetch no token, and a service that asks for it does not start"
                yield Problem(path=("secrets", name, key), rule=rule, fix=f"Give the {what}'s UUID.")


def _advisories(session: Session) -> Iterator[Problem]:
    """`"*"` belongs to debug-mode (section 7), but meshes in the field set it without: the CAS decides."""
    attestation = session.security.attestation
    is_open = any(has_hole(entry) or is_reference(entry) for entry in attestation.tolerate)
    if ALL_ADVISORIES in attestation.ignore_advisories and DEBUG_MODE not in attestation.tolerate and not is_open:
        yield Problem(
            path=("security", "attestation", "ignore_advisories"),
            rule='"*" without debug-mode: platforms with any known vulnerability are trusted, and a CAS may refuse it',
            fix="Name the advisories that may be ignored.",
        )


def _raw_bytes(session: Session) -> Iterator[Problem]:
    """Bytes that are no text can be an argument or a variable only where they happen to hold no NUL."""
    kinds = kinds_of(session.secrets)
    for path, text in texts(session):
        if path[0] == "access_policy":
            continue  # judged as entries
        # Files take any bytes.
        takes_bytes = path[0] == "images" or path[-1] in _BYTES
        for part in () if has_hole(text) else parts(text):
            if not isinstance(part, Placeholder) or part.name == SELF or (takes_bytes and not part.escape_json):
                continue
            name, suffix = resolve(part, kinds)
            instead = text_form(kinds[name] or "", suffix)
            if instead is not None and not _is_text(session.secrets[name]):
                yield Problem(
                    path=path,
                    rule=f"$$SCONE::{name}{suffix}$$ may hold NUL or bytes that are no text: "
                    "the service may then not start",
                    fix=f"Write $$SCONE::{name}{instead}$$.",
                )


def _is_text(secret: Secret) -> bool:
    """True where the value is given and known to be text without NUL."""
    if secret.kind != "binary" or not isinstance(secret.value, str) or has_hole(secret.value):
        return False
    try:
        return "\0" not in bytes.fromhex(secret.value).decode()
    except UnicodeDecodeError:
        return False
