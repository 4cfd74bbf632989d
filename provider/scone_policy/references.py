"""Rules that look across the sections of a session: placeholders, images, attestation of every service."""

from collections.abc import Iterator, Mapping

from scone_policy.holes import has_hole
from scone_policy.images import Image
from scone_policy.placeholders import Placeholder, parts, resolve
from scone_policy.problems import Problem
from scone_policy.secrets import Secret
from scone_policy.security import Security
from scone_policy.services import MARKER, Service
from scone_policy.source import Path


def reference_problems(
    services: Mapping[str, Service], secrets: Mapping[str, Secret], images: Mapping[str, Image], security: Security
) -> list[Problem]:
    """Every reference that leads nowhere, and every service that nothing would attest, in the order of the document."""
    kinds = {name: secret.kind for name, secret in secrets.items()}
    found = [problem for path, text in _texts(services, images) for problem in _judge(path, text, kinds)]
    for name, service in services.items():
        path: Path = ("services", name)
        image = service.image_name
        if image is not None and image not in images and not has_hole(image):
            found.append(Problem(path=(*path, "image_name"), rule="names no image of this session"))
        if not service.attestation and security.attestation.mode != "none":
            found.append(
                Problem(
                    path=path,
                    rule="needs at least one attestation variant: attestation is not off for this session",
                    fix="Give attestation.mrenclave or attestation.signer.",
                )
            )
        found += _key_problems(path, service.fspf_key, kinds)
    return found


def _key_problems(path: Path, key: str | None, kinds: Mapping[str, str | None]) -> list[Problem]:
    if key is None or key.startswith(MARKER):
        return []
    return _judge((*path, "fspf_key"), key, kinds)


def _texts(services: Mapping[str, Service], images: Mapping[str, Image]) -> Iterator[tuple[Path, str]]:
    for name, service in services.items():
        for argument in service.command or ():
            yield ("services", name, "command"), argument
        for variable, value in service.environment.items():
            yield ("services", name, "environment", variable), value
        for variant in service.attestation:
            for measurement in variant.mrenclave:
                yield ("services", name, "attestation"), measurement
    for name, image in images.items():
        for path, file in image.injection_files.items():
            if file.content is not None:
                yield ("images", name, "injection_files", path, "content"), file.content


def _judge(path: Path, text: str, kinds: Mapping[str, str | None]) -> list[Problem]:
    try:
        pieces = parts(text)
    except ValueError as error:
        return [Problem(path=path, rule=str(error))]
    found = []
    for piece in pieces:
        if isinstance(piece, Placeholder) and not has_hole(text):
            try:
                resolve(piece, kinds)
            except ValueError as error:
                found.append(Problem(path=path, rule=str(error)))
    return found
