"""The root namespace as every CAS has it until somebody claims it (session language, section 1)."""

from types import MappingProxyType

from scone_cas.sessions.descriptions import read_upload
from scone_cas.sessions.snapshot import SessionSnapshot

_TEXT = """name: /
version: 0.3.12
access_policy:
  read: [ANY]
  update: [ANY]
  create_sessions: [ANY]
  list_sessions: [NONE]
"""

DEFAULT = read_upload(_TEXT.encode())
"""Anybody may read it, create sessions below it and, while there are none, replace it. The same on every CAS."""

LIVE = SessionSnapshot(
    hash=DEFAULT.hash, number=1, session=DEFAULT.session, creator=None, generated=MappingProxyType({})
)
"""The one session that is not in the store."""
