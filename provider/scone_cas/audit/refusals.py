"""Refusals of who proved nothing, in the audit log and CAS's log: each kind once, then how many more."""

from collections.abc import Sequence

from scone_cas import log
from scone_cas.audit.journal import Journal
from scone_cas.tally import Tally

_MOST_EXPECTED, _LONGEST_EXPECTED = 8, 128
"""So many values, so many characters of each."""


class RefusalJournal:
    """Tells refusals of one process, so that nobody fills the disk with them. Safe for threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tally = Tally()

    def tell(self, code: str, named: str, measurement: str, address: str, *, expected: Sequence[str] = ()) -> None:
        """The first of a kind is recorded before its answer is sent. Raises SconeError.

        `expected`: what the policy wants in place of what came. It stands in the logs alone.
        """
        self.tell_counted()
        if self._tally.is_news(code, (named, address)):
            wanted = [value[:_LONGEST_EXPECTED] for value in expected[:_MOST_EXPECTED]]
            told: dict[str, object] = {"config_id": named, "code": code, "measurement": measurement, "address": address}
            self._journal.record("service_refused", **told, **({"expected": wanted} if wanted else {}))
            log.event("service-refused", config_id=named, code=code, expected=",".join(wanted) or None, address=address)

    def tell_counted(self) -> None:
        """Record what was only counted, when it is time. Raises SconeError."""
        for counted in self._tally.due():
            named, address = counted.kind if isinstance(counted.kind, tuple) else (None, None)
            told = {"config_id": named, "code": counted.group, "address": address}
            told |= {"count": counted.count, "seconds": counted.seconds}
            self._journal.record("refusals_counted", **told)
            log.event("refusals-counted", **told)
