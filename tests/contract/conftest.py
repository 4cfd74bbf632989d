"""People and names for all contract tests."""

from support.people_fixtures import ann, bob, name

__all__ = ["ann", "bob", "name"]
