"""What a changed attestation means for trust: which programs, signers and versions are trusted, part by part."""

from collections.abc import Iterator, Mapping
from typing import Any

from scone_policy.diff.change import Trust

Map = Mapping[str, Any]
Path = tuple[str, ...]
Verdict = tuple[Trust, str]
Difference = tuple[Path, Any, Any, Verdict]
"""Path below the attestation, before, after, what it means."""

_ADDED: Verdict = (Trust.WIDENS, "measurement added: an additional program is trusted")
_REMOVED: Verdict = (Trust.NARROWS, "measurement removed: a program is no longer trusted")
_REPLACED: Verdict = (Trust.CHANGES, "measurement replaced: another program is trusted")
_VERSIONS = ("isvsvn", "isvsvn_min", "isvsvn_max")
_HIGHEST = (1 << 16) - 1


def attestation_differences(before: Map, after: Map) -> Iterator[Difference]:
    """The differences between two attestations in canonical form, each a map: one variant, or `any` of several.

    Variants that stayed say nothing, those that were edited are compared part by part, the rest came or went.
    """
    old, new = _variants(before), _variants(after)
    gone = [variant for variant in old if variant not in new]
    come = [variant for variant in new if variant not in old]
    for left, right in _edited(gone, come):
        gone.remove(left)
        come.remove(right)
        yield from _parts(left, right)
    for variant in come:
        yield from _whole(variant, added=True)
    for variant in gone:
        yield from _whole(variant, added=False)


def _variants(attestation: Map) -> list[Any]:
    return list(attestation["any"].values()) if "any" in attestation else [attestation]


def _edited(gone: list[Any], come: list[Any]) -> list[tuple[Any, Any]]:
    """Which variant became which: those that share measurements or signer, and the only ones on both sides."""
    pairs: list[tuple[Any, Any]] = []
    left, right = list(gone), list(come)
    for before in gone:
        after = next((one for one in right if _alike(before, one)), None)
        if after is not None:
            pairs.append((before, after))
            left.remove(before)
            right.remove(after)
    if len(left) == len(right) == 1 and _sort(left[0]) == _sort(right[0]):
        pairs.append((left[0], right[0]))
    return pairs


def _alike(before: Any, after: Any) -> bool:  # noqa: ANN401 - a variant, or a reference
    if isinstance(before, str) or isinstance(after, str):
        return False
    same = "mrenclave" in before and before["mrenclave"] == after.get("mrenclave")
    return same or before.get("signer") == after.get("signer") or _one_signer(before, after)


def _one_signer(before: Map, after: Map) -> bool:
    """The same signer in other words, and nothing else of another sort."""
    left, right = before.get("signer"), after.get("signer")
    if not isinstance(left, Mapping) or not isinstance(right, Mapping) or _sort(before) != _sort(after):
        return False
    return bool(left["mrsigner"] == right["mrsigner"] and before.get("mrenclave") == after.get("mrenclave"))


def _sort(variant: Any) -> str:  # noqa: ANN401 - a variant, or a reference
    return "reference" if isinstance(variant, str) else "mrenclave" if "mrenclave" in variant else "signer"


def _parts(before: Any, after: Any) -> Iterator[Difference]:  # noqa: ANN401 - variants of one sort, or alike
    if isinstance(before, str):
        yield (), before, after, (Trust.CHANGES, "reference replaced: what another secret holds is trusted")
        return
    yield from _measurements(before, after)
    yield from _signer(before.get("signer"), after.get("signer"))


def _measurements(before: Map, after: Map) -> Iterator[Difference]:
    old, new = _set(before.get("mrenclave")), _set(after.get("mrenclave"))
    if old == new:
        return
    path = ("mrenclave",)
    if not old or not new:
        only = (Trust.NARROWS, "only this program of the signer is trusted from now on")
        every = (Trust.WIDENS, "every program of the signer is trusted")
        yield path, before.get("mrenclave"), after.get("mrenclave"), every if old else only
        return
    gone, come = sorted(old - new), sorted(new - old)
    if len(gone) == len(come) == 1:
        yield path, gone[0], come[0], _REPLACED
        return
    yield from ((path, None, one, _ADDED) for one in come)
    yield from ((path, one, None, _REMOVED) for one in gone)


def _set(measurements: Any) -> set[str]:  # noqa: ANN401 - None, one, or a map by short digest
    if measurements is None:
        return set()
    return set(measurements.values()) if isinstance(measurements, Mapping) else {measurements}


def _signer(before: Any, after: Any) -> Iterator[Difference]:  # noqa: ANN401 - None, a reference, or a map
    path = ("signer",)
    if before == after:
        return
    if before is None:
        yield path, None, after, (Trust.NARROWS, "the signer is demanded too")
    elif after is None:
        yield path, before, None, (Trust.WIDENS, "the signer is no longer demanded")
    elif isinstance(before, str) or isinstance(after, str):
        yield path, before, after, (Trust.CHANGES, "a secret decides which signer is trusted")
    else:
        versions = _version_verdict(before, after)
        for key in sorted({*before, *after}):
            old, new = before.get(key), after.get(key)
            if old != new:
                yield (*path, key), old, new, versions if key in _VERSIONS else _part_verdict(key, old, new)


def _part_verdict(key: str, before: object, after: object) -> Verdict:
    if key == "mrsigner":
        return Trust.CHANGES, "signer replaced: the programs of another one are trusted"
    if before is None:
        return Trust.NARROWS, "only this product of the signer is trusted from now on"
    if after is None:
        return Trust.WIDENS, "every product of the signer is trusted"
    return Trust.CHANGES, "another product of the signer is trusted"


def _version_verdict(before: Map, after: Map) -> Verdict:
    """By the range of versions that each signer allows, however it is written."""
    old, new = _range(before), _range(after)
    if old is None or new is None:
        fewer, more = ({*_VERSIONS} & {*side} for side in (before, after))
        if fewer < more:
            return Trust.NARROWS, "fewer versions are trusted"
        return (Trust.WIDENS, "more versions are trusted") if more < fewer else (Trust.CHANGES, _OTHERS)
    if old == new:
        return Trust.CHANGES, "the same versions as before, in other words"
    if new[0] <= old[0] and old[1] <= new[1]:
        return Trust.WIDENS, "more versions are trusted"
    if old[0] <= new[0] and new[1] <= old[1]:
        return Trust.NARROWS, "fewer versions are trusted"
    return Trust.CHANGES, _OTHERS


_OTHERS = "other versions are trusted"


def _range(signer: Map) -> tuple[int, int] | None:
    """Lowest and highest version, both included; None where a secret or a value that is not known yet decides."""
    exact = signer.get("isvsvn")
    low, high = (signer.get("isvsvn_min", 0), signer.get("isvsvn_max", _HIGHEST)) if exact is None else (exact, exact)
    return (low, high) if isinstance(low, int) and isinstance(high, int) else None


def _whole(variant: Any, *, added: bool) -> Iterator[Difference]:  # noqa: ANN401 - a variant, or a reference
    if isinstance(variant, str):
        words = "what a secret holds is trusted too" if added else "what a secret holds is no longer trusted"
        yield _side((), variant, words=f"reference {_event(added=added)}: {words}", added=added)
        return
    signer = variant.get("signer")
    if "mrenclave" not in variant:
        words = "all of its programs of that product are trusted" if added else "its programs are no longer trusted"
        yield _side(("signer",), signer, words=f"signer {_event(added=added)}: {words}", added=added)
        return
    for measurement in sorted(_set(variant["mrenclave"])):
        shown = measurement if signer is None else {"mrenclave": measurement, "signer": signer}
        yield _side(("mrenclave",), shown, words=(_ADDED if added else _REMOVED)[1], added=added)


def _side(path: Path, shown: object, *, words: str, added: bool) -> Difference:
    if added:
        return path, None, shown, (Trust.WIDENS, words)
    return path, shown, None, (Trust.NARROWS, words)


def _event(*, added: bool) -> str:
    return "added" if added else "removed"
