"""All registries that images come from and go to."""

import threading

from scone_provider.image.oci.reference import Reference
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.image.registry.repository import Repository
from scone_provider.image.registry.transport import Transport


class Registry:
    """All registries, under one set of options. Bases are read through mirrors, our images go where they say."""

    def __init__(self, options: RegistryOptions | None = None) -> None:
        self.options = options or RegistryOptions()
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def source(self, reference: Reference) -> Repository:
        """Where the repository of `reference` is read from: its registry's mirror, if there is one."""
        host = self.options.mirrors.get(reference.host, reference.host)
        return Repository(self._transport(host), reference.repository)

    def target(self, reference: Reference) -> Repository:
        """Where the repository of `reference` is written to: its own registry."""
        return Repository(self._transport(reference.host), reference.repository, write=True)

    def reader(self, reference: Reference) -> Repository:
        """The same as `target`, for someone who may not have the right to write."""
        return Repository(self._transport(reference.host), reference.repository)

    def _transport(self, host: str) -> Transport:
        with self._lock:
            if host not in self._transports:
                self._transports[host] = Transport(host, self.options)
            return self._transports[host]
