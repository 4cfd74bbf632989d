"""Refusals of who proved nothing, in the audit log and CAS's log: each kind once, then how many more."""

from scone_cas import log
from scone_cas.audit.audit_log import Journal
from scone_cas.tally import Tally


class RefusalJournal:
    """Tells refusals of one process, so that nobody fills the disk with them. Safe for threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tally = Tally()

    def tell(self, code: str, named: str, measurement: str, address: str) -> None:
        """The first of a kind is recorded before its answer is sent. Raises SconeError."""
        self.tell_counted()
        if self._tally.is_news(code, (named, address)):
            told = {"config_id": named, "code": code, "measurement": measurement, "address": address}
            self._journal.record("service_refused", **told)
            log.event("service-refused", config_id=named, code=code, address=address)

    def tell_counted(self) -> None:
        """Record what was only counted, when it is time. Raises SconeError."""
        for counted in self._tally.due():
            named, address = counted.kind if isinstance(counted.kind, tuple) else (None, None)
            told = {"config_id": named, "code": counted.group, "address": address}
            told |= {"count": counted.count, "seconds": counted.seconds}
            self._journal.record("refusals_counted", **told)
            log.event("refusals-counted", **told)
