"""Registries, honest and not, and clients for them."""

from support.quirky_client import authority, play
from support.registry_fixtures import cache, client, liar, real_registry, start_registry, store_fixture

__all__ = ["authority", "cache", "client", "liar", "play", "real_registry", "start_registry", "store_fixture"]
