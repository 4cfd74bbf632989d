"""`Cas`: one CAS that a stack trusts, the switches under which it does, and the key it was first seen with."""

from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from scone_provider.cas.address import CasAddress
from scone_provider.cas.attest import presented_key
from scone_provider.cas.attestation_cache import AttestationCache
from scone_provider.cas.client import CasClient, connect
from scone_provider.cas.trust import CasTrust
from scone_provider.errors import TrustError
from scone_provider.resources._engine import Props, SconeProvider, Unknowns, checked, clean, warn, way_out
from scone_provider.stack.production import refuse_testing
from scone_provider.stack.settings import Settings


class CasProvider(SconeProvider):
    """Attests on create, on update and on refresh; never in preview."""

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Validate url, switches and pin. A pinned key is known from here on."""
        del olds
        unknowns = Unknowns()
        trust = CasTrust.from_props(unknowns.hide(news))
        if self.is_production:
            refuse_testing({"tolerance": trust.testing_switches})
        return unknowns.show(trust.to_props())

    @clean
    def create(self, props: Props) -> CreateResult:
        """Attest CAS and record the key it has."""
        trust = CasTrust.from_props(props)
        seen = _seen(attest(trust, self.settings, anew=True))
        return CreateResult(str(seen["attested_key"]), props | seen)  # no url: the program may keep it secret

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """Attest again. Another key is taken only where the program pins it or names another CAS."""
        trust = CasTrust.from_props(news)
        known = None if trust.key or trust.url != olds.get("url") else str(olds["attested_key"])
        return UpdateResult(news | _seen(attest(trust, self.settings, known_key=known, anew=True)))

    @clean
    def read(self, id_: str, props: Props) -> ReadResult:
        """Look who answers; another key shows as `found_key`, and the one that was trusted stays what is trusted."""
        trust = CasTrust.from_props(props)
        outs = {key: value for key, value in props.items() if key != "found_key"}
        with way_out():
            found = presented_key(CasAddress.parse(trust.url, self.settings.connect_to))
        if found != props["attested_key"]:
            warn(
                f"{trust.url} answers with the key {found}, but {props['attested_key']} was trusted: "
                "nothing will be uploaded to it. If the change is right, pin it (cas_key in the Meshfile).",
            )
            drift = {"found_key": found}
            return ReadResult(id_, outs | drift, trust.to_props() | drift)  # an input, or the engine calls it no drift
        try:
            attest(trust, self.settings, anew=True)
        except TrustError as error:
            warn(f"{trust.url} still has the key that was trusted, but would not be trusted now: {error}")
        return ReadResult(id_, outs, trust.to_props())

    def delete(self, _id: str, _props: Props) -> None:
        """Stop trusting it: nothing is left to do at CAS."""


_recent = AttestationCache()


def attest(
    trust: CasTrust, settings: Settings, *, known_key: str | None = None, identify: bool = False, anew: bool = False
) -> CasClient:
    """A client of the attested CAS; without `anew` an attestation of this process that is still fresh will do.

    Raises TrustError when it is not to be trusted or not `known_key` any more.
    """
    return connect(
        trust.url,
        tolerance=trust.tolerance_text,
        cas_key=trust.key,
        connect_to=settings.connect_to,
        identity=settings.identity() if identify else None,
        known_key=known_key,
        recent=None if anew else _recent,
    )


def _seen(cas: CasClient) -> Props:
    return {"attested_key": cas.key_hash}
