"""Rules that look across the sections of a session: placeholders, names of secrets, images and volumes, attestation."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from scone_policy.access import AccessPolicy, Entry, Require, SessionSigner
from scone_policy.holes import has_hole
from scone_policy.placeholders import SELF, Placeholder, is_reference, parts, resolve
from scone_policy.problems import Problem
from scone_policy.secrets import Secret
from scone_policy.services import MARKER, Service
from scone_policy.source import Path

if TYPE_CHECKING:
    from scone_policy.session import Session

_POSITION = re.compile(r"@@([0-9]+)")
_KEYS = ("private-key",)
_AUTHORITIES = ("x509-ca", "x509")

Kinds = Mapping[str, str | None]


def reference_problems(session: "Session") -> list[Problem]:
    """Every reference that leads nowhere, and every service that nothing would attest, in the order of the document."""
    kinds = {name: secret.kind for name, secret in session.secrets.items()}
    found = [problem for path, text in texts(session) for problem in _judge(path, text, kinds)]
    for name, service in session.services.items():
        found += _service_problems(session, name, service, kinds)
    for name, secret in session.secrets.items():
        found += _secret_problems(("secrets", name), secret, session.secrets)
    for name, image in session.images.items():
        here: Path = ("images", name)
        for path, mount in image.volumes.items():
            if mount.name not in session.volumes:
                found.append(Problem(path=(*here, "volumes", path), rule=f"{mount.name} is no volume of this session"))
        for secret_name in image.provide_secrets or ():
            if secret_name not in kinds and not has_hole(secret_name):
                rule = f"{secret_name} is no secret of this session"
                found.append(Problem(path=(*here, "provide_secrets"), rule=rule))
    vault = session.secret_config.store_in
    if vault is not None:
        found += _named(("secret_config", "store_in"), vault.token, ("aad-token",), session.secrets, "token must name")
    return found


def _service_problems(session: "Session", name: str, service: Service, kinds: Kinds) -> Iterator[Problem]:
    path: Path = ("services", name)
    image = service.image_name
    if image is not None and image not in session.images and not has_hole(image):
        yield Problem(path=(*path, "image_name"), rule="names no image of this session")
    if not service.attestation and session.security.needs_attestation:
        yield Problem(
            path=path,
            rule="needs at least one attestation variant: attestation is not off for this session",
            fix="Give attestation.mrenclave or attestation.signer.",
        )
    key = service.fspf_key
    if key is not None and is_reference(key):
        yield from _binary((*path, "fspf_key"), key, kinds)
    yield from _positions((*path, "command"), service.command or ())


def _binary(path: Path, key: str, kinds: Kinds) -> Iterator[Problem]:
    (placeholder,) = parts(key)
    if isinstance(placeholder, Placeholder) and kinds.get(placeholder.name) not in ("binary", None):
        yield Problem(path=path, rule=f"{placeholder.name} must be a binary secret of 32 bytes")


def _positions(path: Path, command: Sequence[str]) -> Iterator[Problem]:
    """Host arguments are taken by position: 1, 2, 3 …, each once."""
    positions = sorted(int(match[1]) for argument in command if (match := _POSITION.fullmatch(argument)))
    for expected, position in enumerate(positions, start=1):
        if position == expected:
            continue
        rule = f"@@{position} stands there, but @@{expected} does not"
        if position < expected:
            rule = f"the host argument @@{position} stands there twice" if position else "host arguments begin with @@1"
        yield Problem(path=path, rule=rule, fix="Count host arguments from @@1 on, each once.")
        return


def _secret_problems(path: Path, secret: Secret, secrets: Mapping[str, Secret]) -> Iterator[Problem]:
    if secret.private_key is not None and secret.kind != "aad-token":
        yield from _named((*path, "private_key"), secret.private_key, _KEYS, secrets, "must name")
    elif secret.private_key is not None and "-----" not in secret.private_key:
        yield from _judge((*path, "private_key"), secret.private_key, {key: one.kind for key, one in secrets.items()})
    if secret.signer is not None:
        yield from _named((*path, "signer"), secret.signer, _KEYS, secrets, "must name")
        signer = secrets.get(secret.signer)
        if signer is not None and signer.is_generated and signer.kind == "private-key" and signer.key_type != "P-384":
            yield Problem(path=(*path, "signer"), rule="must name a private-key secret with key_type P-384 (ES384)")
    if secret.issuer is not None:
        yield from _named((*path, "issuer"), secret.issuer, _AUTHORITIES, secrets, "must name")
        issuer = secrets.get(secret.issuer)
        if issuer is not None and issuer.value is not None and issuer.private_key is None:
            rule = "names a certificate that was given without private_key: nothing could be signed with it"
            yield Problem(path=(*path, "issuer"), rule=rule)
        if _issues_itself(secret, secrets):
            rule = "leads in a circle back to this certificate: none of them could be the first to sign"
            yield Problem(path=(*path, "issuer"), rule=rule, fix="Leave issuer out of the one that is the root.")


def _issues_itself(secret: Secret, secrets: Mapping[str, Secret]) -> bool:
    above = secret
    for _ in secrets:
        issuer = secrets.get(above.issuer or "")
        if issuer is None or not issuer.is_generated:
            return False
        if issuer is secret:
            return True
        above = issuer
    return False


def _named(
    path: Path, name: str, wanted: Sequence[str], secrets: Mapping[str, Secret], words: str
) -> Iterator[Problem]:
    if has_hole(name) or is_reference(name):
        return
    found = secrets.get(name)
    if found is None or found.kind not in (*wanted, None):
        yield Problem(path=path, rule=f"{words} a secret of this session, of kind {wanted[0]}")


def texts(session: "Session") -> Iterator[tuple[Path, str]]:
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


def _secret_texts(session: "Session") -> Iterator[tuple[Path, str]]:
    for name, secret in session.secrets.items():
        for claim, value in (secret.payload or {}).items():
            yield ("secrets", name, "payload", claim), value
        if secret.import_ is not None:
            for key in ("cas_url", "cas_key", "cas_software_key"):
                yield ("secrets", name, "import", key), getattr(secret.import_, key) or ""
        for key in ("tenant_id", "client_id", "application_secret"):
            yield ("secrets", name, key), getattr(secret, key) or ""


def _service_texts(session: "Session") -> Iterator[tuple[Path, str]]:
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
        for text in _entry_texts(getattr(policy, right) or ()):
            yield ("access_policy", right), text


def _entry_texts(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, Require):
            yield from _entry_texts(entry.entries)
        else:
            yield entry.key if isinstance(entry, SessionSigner) else entry


def _security_texts(session: "Session") -> Iterator[tuple[Path, str]]:
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


def _judge(path: Path, text: str, kinds: Kinds) -> list[Problem]:
    try:
        pieces = parts(text)
    except ValueError as error:
        return [Problem(path=path, rule=str(error))]
    found = []
    for piece in pieces:
        if isinstance(piece, Placeholder) and not has_hole(text):
            if piece.name == SELF and path[0] == "secrets":
                continue
            try:
                resolve(piece, kinds)
            except ValueError as error:
                found.append(Problem(path=path, rule=str(error)))
    return found
