"""What an attacker finds: CASes, registries, people; all real, none shared with another suite.

Each test of this suite plays somebody who wants to do harm, and says in its docstring who, and what must hold.
"""

from support.cas_fixtures import cas, own_cas
from support.people_fixtures import ann, bob, name
from support.quirky_client import authority, play
from support.registry_fixtures import cache, client, liar, real_registry, start_registry, store_fixture

__all__ = [
    "ann",
    "authority",
    "bob",
    "cache",
    "cas",
    "client",
    "liar",
    "name",
    "own_cas",
    "play",
    "real_registry",
    "start_registry",
    "store_fixture",
]
