"""Imports against exports among the policies of one program: what CAS would refuse, said before anything is done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pulumi.runtime.settings import get_monitor

from scone_policy.errors import SconeError
from scone_policy.model.secret_sharing import Export
from scone_policy.model.session import Session
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.names import ROOT


@dataclass(frozen=True)
class _Known:
    """The policies of one program that were made so far."""

    policies: dict[str, list[tuple[str, Any, Session]]] = field(default_factory=dict)
    """Session → resource, url of its CAS, what it says; one name at several CASes is several policies."""
    importers: dict[str, set[str]] = field(default_factory=dict)
    """Exporter → those that import from it."""


_PROGRAMS: "WeakKeyDictionary[Any, _Known]" = WeakKeyDictionary()
"""By the connection to the engine: each run of a program has its own, also where one process runs several."""


def check_sharing(resource: str, cas: Mapping[str, Any], session: Session | None) -> None:
    """Remember a policy, and compare it with those before: raises SconeError for an import that nobody exports.

    And for a session that two resources write, each something else: they would undo each other for ever. Two that write
    the same have it together (docs/adr/004-ownership.md). `resource`: name in the program.

    Only what is known now counts: names that are Outputs, policies of other programs and other CASes do not.
    """
    program = get_monitor()
    if program is None or session is None or has_hole(session.name):
        return
    known = _PROGRAMS.setdefault(program, _Known())
    _refuse_twins(known, resource, cas.get("url"), session)
    known.policies.setdefault(session.name, []).append((resource, cas.get("url"), session))
    sources = {secret.import_.session for secret in session.secrets.values() if secret.import_ is not None}
    for source in sources:
        known.importers.setdefault(source, set()).add(session.name)
        _compare(known, source, session.name)
    for importer in sorted(known.importers.get(session.name, ())):
        _compare(known, session.name, importer)


def _compare(known: _Known, source: str, importer: str) -> None:
    for _, at, exporter in known.policies.get(source, ()):
        for _, wanted_at, wanting in known.policies.get(importer, ()):
            if _is_one_cas(at, wanted_at):
                for problem in _problems(exporter, wanting):
                    raise problem


def _is_one_cas(at: object, other: object) -> bool:
    """False where it is perhaps another one."""
    return at is other or (isinstance(at, str) and at == other)


def _refuse_twins(known: _Known, resource: str, at: object, session: Session) -> None:
    for first, first_at, written in known.policies.get(session.name, ()):
        found = sorted(_differences(written.canonical(), session.canonical())) if _is_one_cas(first_at, at) else []
        if found:
            raise SconeError(
                f"{first} and {resource} of this program both write this policy, and not the same: they differ in "
                f"{', '.join(found)}",
                where=session.name,
                fix="give one of them another session (in a mesh: another namespace or service), or make them equal",
            )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Sections that are not equal; what is not known yet may be."""
    for key in one.keys() | other.keys():
        if not _may_be_equal(one.get(key), other.get(key)):
            yield key


def _may_be_equal(one: object, other: object) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return one == other or has_hole(one) or has_hole(other)
    if any(has_hole(key) for key in (*one, *other)):
        return True
    return one.keys() == other.keys() and all(_may_be_equal(one[key], other[key]) for key in one)


def _problems(exporter: Session, wanting: Session) -> Iterator[SconeError]:
    for name, secret in sorted(wanting.secrets.items()):
        wanted = secret.import_
        if wanted is None or wanted.session != exporter.name or wanted.cas_url is not None or has_hole(wanted.secret):
            continue
        where = f"{wanting.name}: secrets.{name}.import"
        found = exporter.secrets.get(wanted.secret)
        if found is None:
            yield SconeError(
                f"{exporter.name}, as this program writes it, has no secret {wanted.secret}",
                where=where,
                fix=f"name one of its secrets ({', '.join(sorted(exporter.secrets)) or 'it has none'})",
            )
        elif not found.export_public and not any(_covers(export, wanting.name) for export in found.export):
            receivers = ", ".join(sorted(export.session or export.namespace or "" for export in found.export))
            yield SconeError(
                f"{exporter.name}, as this program writes it, exports {wanted.secret} to {receivers or 'nobody'}, not "
                f"to {wanting.name}: CAS would refuse this policy",
                where=where,
                fix=f"add {{session: {wanting.name}}} to the export of secrets.{wanted.secret} in {exporter.name}",
            )


def _covers(export: Export, name: str) -> bool:
    """By name: a receiver that is known by its hash, too, is taken for the right version."""
    receiver = export.session or export.namespace or ""
    if has_hole(receiver) or receiver == name:
        return True
    return export.namespace is not None and (receiver == ROOT or name.startswith(f"{receiver}/"))
