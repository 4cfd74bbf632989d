"""What the resources of images share: the registry as the stack's settings say, and progress."""

import sys

from scone_provider.image.registry import Registry
from scone_provider.image.transport import RegistryOptions
from scone_provider.settings import Settings


def registry_of(settings: Settings) -> Registry:
    """The registries of this stack, with its mirrors."""
    return Registry(RegistryOptions(mirrors=settings.mirrors, insecure_registries=settings.insecure_registries))


def tell(line: str) -> None:
    """One line of progress: the engine shows a provider's output as `info` lines."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201
