"""A session is read and checked by every rule: those of its model, then those that look across its sections."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from scone_policy.keys import pem
from scone_policy.model.access import SIGNER
from scone_policy.model.services import KEY_FIX, KEY_RULE
from scone_policy.model.session import Session
from scone_policy.rules.fragment_rules import fitting_problems
from scone_policy.rules.language_versions import feature_problems
from scone_policy.rules.references import reference_problems
from scone_policy.rules.salvage import with_unknown, without_broken
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import session_name
from scone_policy.syntax.problems import MOST_PROBLEMS, Problem, problems_of, refuse
from scone_policy.syntax.suggestions import of_session
from scone_policy.syntax.yaml_source import Document, load

_MOST_ROUNDS = 5
"""Of leaving out what is broken: a section may hide its entries, an entry its keys."""


def parse(source: str | Mapping[str, object], *, file: str | None = None) -> Session:
    """The session in YAML text (wire form) or in plain data (either form; only here holes and key markers may stand).

    Raises PolicyError, or PolicyErrors naming every broken rule, each with `file:line: path`.
    """
    if isinstance(source, str):
        return parse_document(load(source, file=file))
    document = Document(data=source, file=file)
    session, problems = check(document)
    if problems or session is None:
        raise refuse(problems, document)
    return session


def parse_document(document: Document) -> Session:
    """The session in YAML text that was loaded already. Raises as `parse` does."""
    session, problems = check(document)
    if session is not None:
        problems += marker_problems(session)
    if problems or session is None:
        raise refuse(problems, document)
    return session


def recall(text: str) -> Session:
    """A session that was judged when it was taken: only its shape is looked at again, whatever rules came since.

    Raises PolicyError, as `parse` does.
    """
    return recall_document(load(text))


def recall_document(document: Document) -> Session:
    """The same of text that was loaded already."""
    session, problems = _shaped(document)
    if session is None:
        raise refuse(problems, document)
    return session


def check(document: Document) -> tuple[Session | None, list[Problem]]:
    """The session in the document, if its shape allows one, and all broken rules.

    Where the shape is broken, the rules that look across sections (placeholders, images, attestation, versions) are
    judged for what is left.
    """
    session, problems = _shaped(document)
    if session is not None:
        assert isinstance(document.data, Mapping)
        return session, _across(session, dict(document.data))
    return None, [*problems, *_of_the_rest(document, problems)]


def _across(session: Session, data: Mapping[str, object]) -> list[Problem]:
    problems = [*_top_problems(session), *reference_problems(session)]
    # What does not even resolve is said once.
    problems += [] if problems else fitting_problems(session)
    return [*problems, *feature_problems(session, data)]


def _of_the_rest(document: Document, problems: Sequence[Problem]) -> list[Problem]:
    """What is wrong across sections with the parts whose shape is right."""
    if not isinstance(document.data, Mapping) or len(problems) > MOST_PROBLEMS:
        return []
    found: list[Problem] = []
    said = {problem.path[:2] for problem in problems}
    data, broken, ours = document.data, problems, list[Problem]()
    for _ in range(_MOST_ROUNDS):
        data = with_unknown(without_broken(data, broken), ours)
        session, broken = _shaped(Document(data=data))
        if session is not None:
            # A secret is one thing: what its keys mean together is judged once each of them is right.
            named = {path for path in said if path[0] == "secrets"} | {one.path for one in (*problems, *found)}
            rest = _across(session, dict(document.data))
            return [*found, *(one for one in rest if one.path not in named and one.path[:2] not in named)]
        # An entry that was not named before was hidden by what is left out now; another lacks what was left out of it.
        ours = [problem for problem in broken if problem.path[:2] in said]
        broken = [problem for problem in broken if problem.path[:2] not in said]
        found += broken
        said |= {problem.path[:2] for problem in broken}
    return found


def _shaped(document: Document) -> tuple[Session | None, list[Problem]]:
    if not isinstance(document.data, Mapping):
        rule = "a session description must be a map with name, version, services, …"
        return None, [Problem(path=(), rule=rule, fix="Begin it with `name: …` and `version: …`, each on a line.")]
    data = dict(document.data)
    try:
        return Session.model_validate(data, context={"name": _own_name(data)}), []
    except ValidationError as error:
        found = problems_of(error)
        # All of them are left out when the rest is judged; only those that are told need a next step.
        return None, [*of_session(found[:MOST_PROBLEMS], Session), *found[MOST_PROBLEMS:]]


def written_problems(session: Session) -> list[Problem]:
    """What a person must not write: the markers of our own state, and a creator."""
    creator = creator_problem(session)
    return [*marker_problems(session), *([] if creator is None else [creator])]


def creator_problem(session: Session) -> Problem | None:
    """The refusal of a creator that somebody wrote by hand; None without one, and for one that a CAS printed.

    That stands there when a session that was read is uploaded again: it is ignored, as CAS fills it in anew.
    """
    if session.creator is None or _is_printed(session.creator):
        return None
    fix = "Leave it out; access_policy says who may do what."
    return Problem(path=("creator",), rule="is filled in by CAS, never written by hand", fix=fix)


def _is_printed(creator: object) -> bool:
    """True for a certificate, or the public key of a signer, in PEM."""
    read, text = pem.certificates, creator
    if isinstance(creator, Mapping) and set(creator) == {SIGNER}:
        read, text = pem.public_key, creator[SIGNER]
    try:
        return isinstance(text, str) and bool(read(text))
    except ValueError:
        return False


def marker_problems(session: Session) -> list[Problem]:
    """Key markers, which have no meaning outside of our own state."""
    return [
        Problem(path=("services", name, "fspf_key"), rule=KEY_RULE, fix=KEY_FIX)
        for name, service in session.services.items()
        if service.key_is_derived
    ]


def _own_name(data: Mapping[str, object]) -> str | None:
    try:
        name = session_name(data.get("name"))
    except ValueError:
        return None
    return None if has_hole(name) else name


def _top_problems(session: Session) -> list[Problem]:
    if session.predecessor is not None and session.namespace_hash is not None:
        rule = "namespace_hash and predecessor exclude each other: the first is for the first version only"
        return [Problem(path=("namespace_hash",), rule=rule, fix="Leave namespace_hash out.")]
    return []
