"""One value that does not outlive an update, and how that is told to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What becomes of a value. REISSUED: a certificate over the same key, by the same issuer, with the same names."""

    ANEW = "anew"
    FORGOTTEN = "forgotten"
    REISSUED = "reissued"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """One value that does not outlive an update: of a secret, or the key and tag of a volume.

    `why` and `fix` are for people. `kind` is that of the secret. `receivers`: who else gets it. `decides`: the places
    at which it decides something.
    """

    section: str
    name: str
    effect: Effect
    why: str
    fix: str = ""
    kind: str = ""
    receivers: tuple[str, ...] = ()
    decides: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        """True unless a certificate is only issued once more."""
        return self.effect is not Effect.REISSUED

    def __str__(self) -> str:
        words = _WORDS[self.section, self.effect].format(name=self.name, why=self.why)
        if self.receivers and self.effect is Effect.FORGOTTEN:
            words += f"; services of {', '.join(self.receivers)} that import it do not start any more"
        elif self.receivers:
            words += f"; {', '.join(self.receivers)} may import it, and get the new one when their services next start"
        if self.decides:
            words += f"; {', '.join(self.decides)} {'follows' if len(self.decides) == 1 else 'follow'} the new value"
        return f"CAS will {words}." + (f" {self.fix}" if self.fix else "")


_WORDS: Mapping[tuple[str, Effect], str] = {
    ("secrets", Effect.ANEW): "generate the secret {name} anew, because {why}; what was encrypted or agreed with the "
    "old value is lost",
    ("secrets", Effect.FORGOTTEN): "forget the secret {name}, because {why}; its value is lost",
    ("secrets", Effect.REISSUED): "issue the certificate {name} anew, because {why}",
    ("volumes", Effect.ANEW): "make a key for the volume {name}, because {why}: what is on it cannot be read with it",
    ("volumes", Effect.FORGOTTEN): "forget the tag of the volume {name}, and the key if it made that, because {why}: "
    "what is on it cannot be read without them",
}
