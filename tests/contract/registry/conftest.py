"""Registries, honest and not, and clients for them."""

from support.registry_fixtures import cache, client, liar, real_registry, start_registry, store_fixture

__all__ = ["cache", "client", "liar", "real_registry", "start_registry", "store_fixture"]
