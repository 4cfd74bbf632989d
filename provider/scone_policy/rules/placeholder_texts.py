"""Every text of a session in which placeholders may stand, with its path."""

from collections.abc import Iterator, Mapping, Sequence

from scone_policy.model.access import AccessPolicy, Entry, Require, SessionSigner
from scone_policy.model.services import MARKER
from scone_policy.model.session import Session
from scone_policy.syntax.yaml_source import Path


def texts(session: Session) -> Iterator[tuple[Path, str]]:
    """Every text in which placeholders may stand, with its path."""
    yield from _service_texts(session)
    for name, image in session.images.items():
        for path, file in image.injection_files.items():
            if file.content is not None:
                yield ("images", name, "injection_files", path, "content"), file.content
    for name, volume in session.volumes.items():
        if volume.fspf_key is not None:
            yield ("volumes", name, "fspf_key"), volume.fspf_key
    yield from _secret_texts(session)
    yield from _access_texts(session.access_policy)
    yield from _security_texts(session)


def _secret_texts(session: Session) -> Iterator[tuple[Path, str]]:
    for name, secret in session.secrets.items():
        for claim, value in (secret.payload or {}).items():
            yield ("secrets", name, "payload", claim), value
        if secret.import_ is not None:
            for key in ("cas_url", "cas_key", "cas_software_key"):
                yield ("secrets", name, "import", key), getattr(secret.import_, key) or ""
        for export in secret.export:
            for key in ("cas_url", "cas_key", "cas_software_key"):
                yield ("secrets", name, "export", key), getattr(export, key) or ""
        for key in ("tenant_id", "client_id", "application_secret", "common_name"):
            yield ("secrets", name, key), getattr(secret, key) or ""
        for key in ("private_key", "issuer", "signer"):
            written = getattr(secret, key) or ""
            yield ("secrets", name, key), "" if "-----" in written else written
        yield from _leaves(("secrets", name, "import_akv"), secret.import_akv)
    if session.secret_config.store_in is not None:
        yield ("secret_config", "store_in", "token"), session.secret_config.store_in.token
        yield ("secret_config", "store_in", "vault"), session.secret_config.store_in.vault


def _leaves(path: Path, tree: object) -> Iterator[tuple[Path, str]]:
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _leaves((*path, key), value)
    if isinstance(tree, str):
        yield path, tree


def _service_texts(session: Session) -> Iterator[tuple[Path, str]]:
    for name, service in session.services.items():
        path: Path = ("services", name)
        for argument in service.command or ():
            yield (*path, "command"), argument
        for variable, value in service.environment.items():
            yield (*path, "environment", variable), value
        for variant in service.attestation:
            for text in (*variant.mrenclave, variant.reference or ""):
                yield (*path, "attestation"), text
            signer = variant.signer.canonical() if variant.signer is not None else ""
            for part in [signer] if isinstance(signer, str) else signer.values():
                yield (*path, "attestation", "signer"), str(part)
        for platform in service.platforms:
            yield (*path, "platforms"), platform
        for key in ("pwd", "fspf_path", "fspf_key", "one_time_password_shared_secret"):
            text = getattr(service, key) or ""
            yield (*path, key), "" if text.startswith(MARKER) else text


def _access_texts(policy: AccessPolicy) -> Iterator[tuple[Path, str]]:
    if policy.reference is not None:
        yield ("access_policy",), policy.reference
        return
    for right in ("read", "update", "create_sessions", "list_sessions"):
        for text in entry_texts(getattr(policy, right) or ()):
            yield ("access_policy", right), text


def entry_texts(entries: Sequence[Entry]) -> Iterator[str]:
    """Every text in access entries: words, key hashes, certificates, the keys of signers, placeholders."""
    for entry in entries:
        if isinstance(entry, Require):
            yield from entry_texts(entry.entries)
        else:
            yield entry.key if isinstance(entry, SessionSigner) else entry


def _security_texts(session: Session) -> Iterator[tuple[Path, str]]:
    security = session.security
    yield ("security",), security.reference or ""
    yield ("security", "singleton_enclaves"), str(security.singleton_enclaves or "")
    yield ("security", "service_access_token"), security.service_access_token or ""
    attestation = security.attestation
    path: Path = ("security", "attestation")
    yield path, attestation.reference or ""
    for key in ("mode", "url", "one_time_password_shared_secret", "must_be_sgx_local"):
        yield (*path, key), str(getattr(attestation, key) or "")
    for key in ("tolerate", "ignore_advisories", "trusted_scone_qe_pubkeys"):
        for entry in getattr(attestation, key):
            yield (*path, key), entry
