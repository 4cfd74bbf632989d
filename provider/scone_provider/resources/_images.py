"""What the resources of images share: the registry as the stack's settings say, and progress."""

import sys
from collections.abc import Mapping

from scone_provider.errors import ImageError
from scone_provider.image.registry import Registry
from scone_provider.image.transport import RegistryOptions
from scone_provider.settings import Settings


def registry_of(settings: Settings) -> Registry:
    """The registries of this stack, with its mirrors."""
    return Registry(RegistryOptions(mirrors=settings.mirrors, insecure_registries=settings.insecure_registries))


def tell(line: str) -> None:
    """One line of progress: the engine shows a provider's output as `info` lines."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201


def check_demanded(inputs: Mapping[str, object], digest: str | None, *, where: str) -> None:
    """Raise ImageError when another image was built than the one that `demanded` of the inputs names, if any."""
    demanded = inputs.get("demanded")
    if demanded and demanded != digest:
        raise ImageError(
            f"the Meshfile demands {demanded}, and what is built is {digest}",
            where=where,
            fix="leave the digest out, or build from the files, base and key that it was built from",
        )


def public_name(secret: object, *, where: str) -> None:
    """Raise ImageError where the name of an image is a Pulumi secret: `{"to": True}` in the input `secret`."""
    if isinstance(secret, Mapping) and secret.get("to"):
        raise ImageError(
            "the name of an image cannot be a secret: registry, cluster and everybody who sees a pod know it",
            where=where,
            fix="give it as what it is: pulumi.Output.unsecret(…)",
        )
