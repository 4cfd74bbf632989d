"""Lays a policy template (`image_policy`: a piece of a session with `{{name}}` variables) over a derived policy.

What makes a service the one that was built (its measurement, its file-system key and tag, its name and image) is never
a template's to say: a template that tries is refused, and so is one that speaks of another service.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scone_policy.model.session import VERSION, Session
from scone_policy.rules.check import check
from scone_policy.syntax.problems import Problem, refuse
from scone_policy.syntax.yaml_source import Document
from scone_provider.derive.variables import Value, Variables
from scone_provider.errors import ManifestError
from scone_provider.manifest.findings import ManifestErrors

Canonical = dict[str, Any]

_SECTIONS = ("services", "secrets", "images", "volumes", "security", "access_policy", "version")
_SERVICE = (
    "command",
    "environment",
    "pwd",
    "platforms",
    "tags",
    "one_time_password_shared_secret",
)
_MEASURED = "c0" * 32
_ATTESTATION = ("security", "attestation")
_WHOLE = (
    ("access_policy", "*"),
    (*_ATTESTATION, "tolerate"),
    (*_ATTESTATION, "ignore_advisories"),
    (*_ATTESTATION, "trusted_scone_qe_pubkeys"),
    ("services", "*", "platforms"),
)
"""Maps that are sets: a template that names one says all of it, or it could only ever widen who is trusted."""
_EMPTY: Mapping[str, Canonical] = {
    "mode": {"mode": "hardware", "url": None},
    "tolerate": {"tolerate": {}},
    "ignore_advisories": {"ignore_advisories": {}},
    "trusted_scone_qe_pubkeys": {"trusted_scone_qe_pubkeys": {}},
}
"""What a template may say of attestation although it is the default, which the canonical form leaves out."""


def filled(document: Document, variables: Variables) -> Document:
    """The template with its variables replaced; those without a value are noted as findings."""

    def fill(tree: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - JSON-like
        if isinstance(tree, str):
            return variables.fill(tree, where=document.where(path)) if "{{" in tree else tree
        if isinstance(tree, Mapping):
            return {fill(key, path): fill(value, (*path, key)) for key, value in tree.items()}
        if isinstance(tree, list):
            return [fill(value, (*path, number)) for number, value in enumerate(tree)]
        return tree

    return Document(data=fill(document.data, ()), file=document.file, lines=document.lines)


def template_texts(document: Document) -> list[Value]:
    """Every text in the template, in which placeholders for secrets may stand."""
    return [Value(text=text, where=where) for text, where in _texts(document, document.data, ())]


def sections_of(document: Document, *, service: str) -> Canonical:
    """The template's sections in canonical form. Raises ManifestError (ManifestErrors) with its file and line."""
    data = document.data
    if not isinstance(data, Mapping):
        raise ManifestError(
            "must be a map with sections of a session",
            where=document.where(()),
            fix=f"It may say {', '.join(_SECTIONS)}.",
        )
    problems = list(_forbidden(data, service))
    _stop(problems, document)
    whole = {"name": service, "version": VERSION, **data}
    session, broken = check(Document(data=_attested(whole), file=document.file, lines=document.lines))
    if session is None:
        _stop(broken, document)
        raise AssertionError("a model was refused without a problem")
    return _only(session, data)


def laid_over(policy: Mapping[str, Any], sections: Mapping[str, Any]) -> Canonical:
    """The policy with the template's sections merged in by key; where both say something, the template does.

    What is a set (who may read, what is tolerated) is replaced whole: a template can narrow it.
    """
    return _merged(policy, sections, whole=_WHOLE)


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> Canonical:
    """`more` over `base`, maps merged by key."""
    return _merged(base, more, whole=())


def _merged(base: Mapping[str, Any], more: Mapping[str, Any], *, whole: Sequence[tuple[str, ...]]) -> Canonical:
    found = dict(base)
    for key, value in more.items():
        old = found.get(key)
        below = [path[1:] for path in whole if path[0] in ("*", key)]
        if isinstance(old, Mapping) and isinstance(value, Mapping) and () not in below:
            found[key] = _merged(old, value, whole=below)
        else:
            found[key] = value
    return found


def _forbidden(data: Mapping[str, object], service: str) -> Iterator[Problem]:
    for key in data:
        if key not in _SECTIONS:
            rule = f"a policy template must not say {key}"
            yield Problem(path=(str(key),), rule=rule, fix=f"It may say {', '.join(_SECTIONS)}.")
    for name, entry in _entries(data.get("services")):
        if name != service:
            yield Problem(path=("services", name), rule=f"this is the template of the service {service}, not of {name}")
        for key in entry:
            if key not in (*_SERVICE, "name"):
                rule = f"{key} is derived from the image, and a policy template must not say it"
                yield Problem(path=("services", name, str(key)), rule=rule, fix=f"It may say {', '.join(_SERVICE)}.")
    for name, _ in _entries(data.get("images")):
        if name != service:
            rule = f"the service {service} has one image, which is named {service}, too"
            yield Problem(path=("images", name), rule=rule)


def _entries(section: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    if isinstance(section, Mapping):
        yield from ((str(name), entry) for name, entry in section.items() if isinstance(entry, Mapping))
    for entry in section if isinstance(section, list) else ():
        if isinstance(entry, Mapping):
            yield str(entry.get("name")), entry


def _attested(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a measurement for each service, without which none is a whole one."""
    services = data.get("services")
    measured = {"mrenclaves": [_MEASURED]}
    if isinstance(services, list):
        return {**data, "services": [{**one, **measured} if isinstance(one, Mapping) else one for one in services]}
    if isinstance(services, Mapping):
        return {
            **data,
            "services": {
                name: {**one, **measured} if isinstance(one, Mapping) else one for name, one in services.items()
            },
        }
    return dict(data)


def _only(session: Session, data: Mapping[str, object]) -> Canonical:
    """Of the canonical form what the template itself says, and not what stands for a default."""
    canonical: Canonical = session.canonical()
    found = {key: value for key, value in canonical.items() if key in data and key not in ("name", "version")}
    said = dict(_entries(data.get("services")))
    if "services" in found:
        found["services"] = {
            name: {key: value for key, value in entry.items() if key in said.get(name, {})}
            for name, entry in found["services"].items()
        }
    if isinstance(found.get("access_policy"), Mapping) and isinstance(data.get("access_policy"), Mapping):
        written: Any = data["access_policy"]
        found["access_policy"] = {key: value for key, value in found["access_policy"].items() if key in written}
    security = data.get("security")
    attestation = security.get("attestation") if isinstance(security, Mapping) else None
    if isinstance(attestation, Mapping):
        said_empty = {key: value for name, one in _EMPTY.items() if name in attestation for key, value in one.items()}
        canonical_security = found.get("security", {})
        whole = {**said_empty, **canonical_security.get("attestation", {})}
        found["security"] = {**canonical_security, "attestation": whole}
    return found


def _texts(document: Document, tree: object, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield tree, document.where(path)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _texts(document, value, (*path, str(key)))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _texts(document, value, (*path, number))


def _stop(problems: Sequence[Problem], document: Document) -> None:
    if problems:
        raise refuse(problems, document, one=ManifestError, many=ManifestErrors)
