"""Who a service must be: variants of measurement and signer (session language, attestation, since 0.3.7)."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, PlainValidator, model_validator

from scone_policy.errors import RuleError
from scone_policy.forms.canonical import keyed, present
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.placeholders import is_reference
from scone_policy.syntax.problems import at
from scone_policy.syntax.scalars import PLACEHOLDER, Model, by_reference, matching, optional, or_reference, whole

_MEASUREMENT = matching(
    f"[0-9a-fA-F]{{64}}|{PLACEHOLDER}",
    "must be 32 bytes in hex (64 digits), or a placeholder",
    fix="Copy it again, whole: 64 characters of 0 to 9 and a to f.",
    trim=True,
)


def _measurement(value: object) -> str:
    found = _MEASUREMENT(value)
    return found if has_hole(found) or found.startswith("$$") else found.lower()


def _one_or_many(value: object) -> tuple[object, ...]:
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _variants(value: object) -> tuple[object, ...]:
    if isinstance(value, Mapping) and set(value) == {"any"}:
        return _variants(list(_one_or_many(value["any"])))
    if isinstance(value, list | tuple):
        return tuple({"reference": item} if is_reference(item) or has_hole(item) else item for item in value)
    if is_reference(value):
        return ({"reference": value},)
    return (value,) if isinstance(value, Mapping) else _one_or_many(value)


def _number(value: object) -> int | str:
    """ISVPRODID and ISVSVN have 16 bits in an enclave's report (Intel SDM, REPORT)."""
    found = whole(value)
    if isinstance(found, int) and not 0 <= found < 1 << 16:
        raise RuleError(
            "must be a whole number from 0 to 65535", fix="Give the number that the enclave was signed with."
        )
    return found


Number16 = Annotated[
    int | str | None, PlainValidator(optional(or_reference(_number)), json_schema_input_type=int | str | None)
]
Measurement = Annotated[str, PlainValidator(_measurement, json_schema_input_type=str)]


class Signer(Model):
    """Enclaves of one signer and product: `isvsvn` exactly, or within `isvsvn_min` and `isvsvn_max`, both included.

    `reference` stands for a config fragment that holds all of it.
    """

    mrsigner: Annotated[str | None, PlainValidator(optional(_measurement), json_schema_input_type=str)] = None
    isvprodid: Number16 = None
    isvsvn: Number16 = None
    isvsvn_min: Number16 = None
    isvsvn_max: Number16 = None
    reference: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, data: object) -> object:
        return data if isinstance(data, cls) else by_reference(data, "signer")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.reference is not None:
            return self
        if self.mrsigner is None:
            raise at("mrsigner must have a value", "mrsigner", fix="Give the signer's MRSIGNER: 64 hex digits.")
        low, high = self.isvsvn_min, self.isvsvn_max
        if self.isvsvn is not None and (low is not None or high is not None):
            raise at("isvsvn excludes isvsvn_min and isvsvn_max", "isvsvn", fix="Keep isvsvn, or the range.")
        if isinstance(low, int) and isinstance(high, int) and low > high:
            raise at("isvsvn_min is larger than isvsvn_max", "isvsvn_min", fix="Exchange the two.")
        return self

    def canonical(self) -> dict[str, object] | str:
        """Map form, absent parts left out; a reference as it is."""
        return self.reference if self.reference is not None else self.model_dump(exclude_none=True)


class Variant(Model):
    """One way to satisfy attestation: any of the measurements, and the signer where one is named.

    `reference` stands for a config fragment that holds one variant or several.
    """

    mrenclave: Annotated[tuple[Measurement, ...], BeforeValidator(_one_or_many)] = ()
    signer: Signer | None = None
    reference: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.reference is not None:
            if self.mrenclave or self.signer is not None:
                raise RuleError("unknown key reference", fix="Write the placeholder itself as the variant.")
        elif not self.mrenclave and self.signer is None:
            raise RuleError(
                "a variant must hold mrenclave or signer", fix="Give one of the two, or remove the variant."
            )
        return self

    def canonical(self) -> dict[str, object] | str:
        """Map form: one measurement as it is, several by short digest; a reference as it is."""
        if self.reference is not None:
            return self.reference
        one = self.mrenclave[0] if len(self.mrenclave) == 1 else None
        return present(
            mrenclave=one or keyed(self.mrenclave),
            signer=self.signer.canonical() if self.signer is not None else None,
        )


def merged(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """The same meaning in the fewest variants: one for each signer, its measurements sorted and unique."""
    measurements: dict[Signer | None, set[str]] = {}
    alone: dict[Signer | str, Variant] = {}
    for variant in variants:
        if variant.reference is not None:
            alone[variant.reference] = variant
        elif not variant.mrenclave and variant.signer is not None:
            alone[variant.signer] = variant
        else:
            measurements.setdefault(variant.signer, set()).update(variant.mrenclave)
    joined = [Variant(mrenclave=tuple(sorted(found)), signer=signer) for signer, found in measurements.items()]
    return tuple(sorted([*joined, *alone.values()], key=lambda variant: repr(variant.canonical())))


def canonical_variants(variants: tuple[Variant, ...]) -> dict[str, object] | str | None:
    """One variant as a map, several as `{"any": {short digest: variant}}`, none as None."""
    if not variants:
        return None
    if len(variants) == 1:
        return variants[0].canonical()
    return {"any": keyed(variant.canonical() for variant in variants)}


Variants = Annotated[tuple[Variant, ...], BeforeValidator(_variants)]
