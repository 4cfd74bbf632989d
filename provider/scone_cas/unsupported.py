"""What the session language has and this CAS does not enforce yet: refused by name at upload, never accepted silently.

The lists are of what *is* served, so that a key which the language gains later is refused until somebody serves it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from scone_cas.messages import Refusal
from scone_policy.placeholders import is_reference
from scone_policy.secrets import Secret
from scone_policy.services import Service
from scone_policy.session import Session

_SESSION = frozenset({"name", "version", "namespace_hash", "salt", "services", "secrets", "images"})
_JUDGED_APART = frozenset({"access_policy", "security"})
_SECURITY = frozenset({"attestation"})
_ATTESTATION = frozenset({"mode", "tolerate", "ignore_advisories"})
_SERVICE = frozenset(
    {
        "image_name",
        "command",
        "environment",
        "pwd",
        "fspf_path",
        "fspf_key",
        "fspf_tag",
        "fspf_update_policy",
        "attestation",
    }
)
_SECRET = frozenset({"kind", "size", "value", "import", "export", "export_public"})
_KINDS = frozenset({"ascii", "binary", None})
_IMPORT = frozenset({"session", "secret"})
_EXPORT = frozenset({"session", "namespace", "session_hash"})
_IMAGE = frozenset({"injection_files"})


def refuse_unserved(session: Session) -> None:
    """Raises Refusal: 501 with the path for what is not served."""
    _only(session.canonical(), _SESSION | _JUDGED_APART, "")
    _security(session)
    for name, secret in session.secrets.items():
        _secret(f"secrets.{name}", secret)
    for name, service in session.services.items():
        _service(f"services.{name}", service)
    for name, image in session.images.items():
        where = f"images.{name}"
        _only(image.canonical(), _IMAGE, where)
        for path, file in image.injection_files.items():
            if file.content is None:
                raise Refusal(
                    501, f"{where}.injection_files.{path}: the image's own files are not served: give content"
                )


def _unserved(where: str, what: str, fix: str = "") -> Refusal:
    return Refusal(501, f"{where}: {what} not served by this version{fix}")


def _only(found: Mapping[str, object], served: frozenset[str], where: str) -> None:
    for key in sorted(set(found) - served):
        raise _unserved(f"{where}.{key}" if where else key, f"{key} is")


def _references(tree: object) -> Iterator[str]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from [key] if is_reference(key) else []
            yield from _references(value)
    elif isinstance(tree, str) and "$$SCONE::" in tree:
        yield tree


def _security(session: Session) -> None:
    found: Any = session.security.canonical()
    if isinstance(found, str):
        raise _unserved("security", "a placeholder here is")
    _only(found, _SECURITY, "security")
    attestation = found.get("attestation", {})
    if isinstance(attestation, str):
        raise _unserved("security.attestation", "a placeholder here is")
    _only({key: value for key, value in attestation.items() if key != "url"}, _ATTESTATION, "security.attestation")
    if attestation.get("mode") == "maa":
        raise _unserved("security.attestation.mode", "maa is")
    for key, part in attestation.items():
        for _ in _references(part):
            raise _unserved(f"security.attestation.{key}", "a placeholder here is")


def _secret(where: str, secret: Secret) -> None:
    if secret.kind not in _KINDS:
        raise _unserved(f"{where}.kind", f"kind {secret.kind} is")
    _only(secret.canonical(), _SECRET, where)
    if secret.import_ is not None:
        _only(secret.import_.canonical(), _IMPORT, f"{where}.import")
    for export in secret.export:
        _only(export.model_dump(exclude_none=True), _EXPORT, f"{where}.export")
        if export.namespace is not None and export.session_hash is not None:
            raise _unserved(f"{where}.export", "session_hash of a namespace is")


def _service(where: str, service: Service) -> None:
    if service.command is None:
        raise _unserved(f"{where}.command", "the image's own command is", ": write it out")
    _only(service.canonical(), _SERVICE, where)
    if service.fspf_key is not None and service.fspf_tag is None:
        raise _unserved(f"{where}.fspf_key", "fspf_key without fspf_tag is")
    for variant in service.attestation:
        for _ in _references({"variant": variant.canonical()}):
            raise _unserved(f"{where}.attestation", "a placeholder here is")
    for key in ("pwd", "fspf_path"):
        for _ in _references(getattr(service, key)):
            raise _unserved(f"{where}.{key}", "a placeholder here is")
