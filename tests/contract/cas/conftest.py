"""CASes for the contract tests."""

from support.cas_fixtures import cas, own, own_cas

__all__ = ["cas", "own", "own_cas"]
