"""What the session language has and this CAS does not enforce yet: refused by name at upload, never accepted silently.

The lists are of what *is* served, so that a key which the language gains later is refused until somebody serves it.
"""

from collections.abc import Mapping
from typing import Any

from scone_cas.errors import Reason, Refusal
from scone_policy.model.secrets import Secret
from scone_policy.model.services import Service
from scone_policy.model.session import Session
from scone_policy.syntax.placeholders import OPENING

_SESSION = frozenset({"name", "version", "namespace_hash", "salt", "services", "secrets", "images", "volumes"})
_JUDGED_APART = frozenset({"access_policy", "security"})
_SECURITY = frozenset({"attestation", "singleton_enclaves"})
_ATTESTATION = frozenset(
    {
        "mode",
        "tolerate",
        "ignore_advisories",
        "one_time_password_shared_secret",
        "must_be_sgx_local",
        "trusted_scone_qe_pubkeys",
    }
)
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
        "platforms",
        "one_time_password_shared_secret",
    }
)
_SECRET = frozenset(
    {
        "kind",
        "size",
        "value",
        "value_json",
        "import",
        "export",
        "export_public",
        "key_type",
        "migrate",
        "private_key",
        "issuer",
        "common_name",
        "endpoint",
        "dns",
        "san",
        "valid_for",
        "tenant_id",
        "client_id",
        "application_secret",
        "certificate_thumbprint",
        "signer",
        "alg",
        "validity",
        "payload",
    }
)
_REAL_ONLY = ": only a real SCONE CAS does it"
_IMAGE = frozenset({"injection_files", "volumes", "provide_secrets"})
_VOLUME = frozenset({"fspf_key", "fspf_tag", "files", "update_policy", "export", "import"})


def refuse_unserved(session: Session) -> None:
    """Raises Refusal: UNSUPPORTED, with the path for what is not served."""
    if session.secret_config.store_in is not None:
        raise _unserved("secret_config.store_in", "Azure Key Vault is", _REAL_ONLY)
    _only(session.canonical(), _SESSION | _JUDGED_APART, "")
    _security(session)
    for name, secret in session.secrets.items():
        _secret(f"secrets.{name}", secret)
    for name, service in session.services.items():
        _service(f"services.{name}", service)
    for name, image in session.images.items():
        _only(image.canonical(), _IMAGE, f"images.{name}")
    for name, volume in session.volumes.items():
        _only(volume.canonical(), _VOLUME, f"volumes.{name}")


def _unserved(where: str, what: str, fix: str = "") -> Refusal:
    return Refusal(Reason.UNSUPPORTED, f"{where}: {what} not served by this version{fix}")


def _only(found: Mapping[str, object], served: frozenset[str], where: str) -> None:
    for key in sorted(set(found) - served):
        raise _unserved(f"{where}.{key}" if where else key, f"{key} is")


def _security(session: Session) -> None:
    found = session.security.canonical()
    if isinstance(found, str):
        return  # a config fragment holds it: it is judged when a service attests
    if "service_access_token" in found:
        raise _unserved("security.service_access_token", "service_access_token is", _REAL_ONLY)
    _only(found, _SECURITY, "security")
    attestation: Any = found.get("attestation", {})
    if isinstance(attestation, str):
        return
    if attestation.get("mode") == "maa":
        raise _unserved("security.attestation.mode", "maa is", _REAL_ONLY)
    _only(attestation, _ATTESTATION | {"url"}, "security.attestation")


def _secret(where: str, secret: Secret) -> None:
    if secret.import_akv is not None:
        raise _unserved(f"{where}.import_akv", "Azure Key Vault is", _REAL_ONLY)
    _only(secret.canonical(), _SECRET, where)
    if secret.import_ is not None:
        for key in ("cas_url", "cas_key", "cas_software_key"):
            if OPENING in (getattr(secret.import_, key) or ""):
                raise _unserved(f"{where}.import.{key}", "a placeholder here is")
    for export in secret.export:
        if export.cas_software_key is not None:
            fix = ": who asks gives no evidence about itself; give cas_key"
            raise _unserved(f"{where}.export.cas_software_key", "an export to any CAS of a software is", fix)
        for key in ("cas_url", "cas_key"):
            if OPENING in (getattr(export, key) or ""):
                raise _unserved(f"{where}.export.{key}", "a placeholder here is")


def _service(where: str, service: Service) -> None:
    if service.tags:
        raise _unserved(f"{where}.tags", "tags is", _REAL_ONLY)
    _only(service.canonical(), _SERVICE, where)
