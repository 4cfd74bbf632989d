"""Tolerance switches: every spelling, unknown ones by name, and what is missing for which evidence."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_policy.keys.cas_evidence import CasEvidence
from scone_provider.cas.tolerance import Tolerance, judge
from scone_provider.errors import TrustError

KEY = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
OTHER = "2wkBET2rRgE8pahuaczxKbmv7ciehqsne57F9gtzf1PVdr2VP3"
SIMULATED = CasEvidence(
    format="scone-cas-simulated-1",
    debug=True,
    mrenclave="ab" * 32,
    mrsigner="00" * 32,
    isvprodid=7,
    isvsvn=3,
    tcb_status="simulated",
    cas_key=KEY,
    software_key=OTHER,
)
ENOUGH = "--only_for_testing-debug --only_for_testing-trust-any --only_for_testing-ignore-signer"


def missing(evidence: CasEvidence, text: str) -> list[str]:
    """The switches that are missing."""
    return [item.switch for item in judge(evidence, Tolerance.parse(text))]


def test_simulated_evidence_needs_all_three() -> None:
    """Without switches each weakness is named, with what it means; with them nothing is missing."""
    found = judge(SIMULATED, Tolerance.parse(""))
    assert [item.switch for item in found] == [
        f"--only_for_testing-{name}" for name in ("debug", "trust-any", "ignore-signer")
    ]
    assert all(len(item.meaning) > 20 for item in found)
    assert missing(SIMULATED, ENOUGH) == []


def test_exact_values_replace_trust_any_and_ignore_signer() -> None:
    """The evidence's own measurement and signer are enough, in either case of hex."""
    text = f"--only_for_testing-debug --mrenclave {'AB' * 32} --mrsigner {'00' * 32} --isvprodid 7 --isvsvn 3"
    assert missing(SIMULATED, text) == []
    assert missing(SIMULATED, text.replace("AB", "AC")) == ["--only_for_testing-trust-any"]
    for wrong in ("--isvprodid 8 --isvsvn 3", "--isvprodid 7 --isvsvn 4"):
        assert missing(SIMULATED, text.replace("--isvprodid 7 --isvsvn 3", wrong)) == [
            "--only_for_testing-ignore-signer"
        ]


def test_trust_any_needs_debug() -> None:
    """Any program is only put up with together with debug, even when the evidence is not debug."""
    production = replace(SIMULATED, debug=False)
    assert missing(production, "--only_for_testing-trust-any --only_for_testing-ignore-signer") == [
        "--only_for_testing-debug"
    ]


@pytest.mark.parametrize(
    ("status", "needed"),
    [
        ("UpToDate", []),
        ("ConfigurationNeeded", ["-C"]),
        ("SWHardeningNeeded", ["-S"]),
        ("ConfigurationAndSWHardeningNeeded", ["-C", "-S"]),
        ("OutOfDate", ["-G"]),
        ("OutOfDateConfigurationNeeded", ["-G", "-C"]),
        ("Revoked", ["no switch"]),
        ("", ["no switch"]),
    ],
)
def test_platform_states(status: str, needed: list[str]) -> None:
    """Each state of the platform names its switches; an unknown or revoked one has none that helps."""
    evidence = replace(SIMULATED, tcb_status=status)
    assert missing(evidence, ENOUGH) == needed
    assert missing(evidence, ENOUGH + " -CGS") == [item for item in needed if item == "no switch"]


def test_key_switches_come_on_top() -> None:
    """-c and -s let only these keys pass."""
    assert missing(SIMULATED, f"{ENOUGH} -c {KEY} -s {OTHER}") == []
    assert missing(SIMULATED, f"{ENOUGH} -c {OTHER}") == [f"-c {KEY}"]
    assert missing(SIMULATED, f"{ENOUGH} -s {KEY}") == [f"-s {OTHER}"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("--accept-configuration-needed", "-C"),
        ("--insecure-configuration --software-hardening-needed", "-C -S"),
        ("--accept-group-out-of-date --accept-sw-hardening-needed", "-G -S"),
        ("-GCS", "-C -G -S"),
        ("  -C   -C ", "-C"),
        (f"--mrenclave={'AA' * 32}", f"--mrenclave {'aa' * 32}"),
    ],
)
def test_spellings(text: str, canonical: str) -> None:
    """Long, short, joined and `=` spellings mean the same switch."""
    assert str(Tolerance.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("--only_for_testing-all", "--only_for_testing-all"),
        ("debug", "'debug'"),
        ("-X", "-X"),
        ("-CX", "-CX"),
        ("--", "'--'"),
        ("-C=1", "-C takes no value"),
        ("--mrenclave", "--mrenclave needs"),
        ("--mrenclave -C", "--mrenclave needs"),
        ("--mrenclave zz", "--mrenclave needs"),
        ("--isvsvn -1", "--isvsvn needs"),
        ("--isvsvn 65536", "--isvsvn needs"),
        ("-c abc", "-c needs"),
        (f"-c {KEY} -c {OTHER}", "-c is given twice"),
        ("'", "quote"),
        ("-C " * 5000, "too long"),
    ],
)
def test_wrong_switches_are_named(text: str, named: str) -> None:
    """An unknown switch or a bad value stops, and is named."""
    with pytest.raises(TrustError, match="tolerance: ") as refusal:
        Tolerance.parse(text)
    assert named in str(refusal.value)


SWITCHES = st.sampled_from(["-C", "-G", "-S", *ENOUGH.split(), f"-c {KEY}", f"--mrenclave {'ab' * 32}", "--isvsvn 1"])


@given(st.lists(SWITCHES, max_size=6))
def test_canonical_text_comes_back(words: list[str]) -> None:
    """Order and repetition do not matter, and the canonical text means the same."""
    found = Tolerance.parse(" ".join(words))
    assert Tolerance.parse(str(found)) == found == Tolerance.parse(" ".join(reversed(words)))


@given(st.lists(SWITCHES, max_size=6), SWITCHES)
def test_more_switches_never_need_more_except_restrictions(words: list[str], more: str) -> None:
    """Adding a switch that tolerates something never makes more weaknesses unbearable, trust-any aside."""
    before, after = missing(SIMULATED, " ".join(words)), missing(SIMULATED, " ".join([*words, more]))
    assert set(after) <= set(before)


@given(st.text(max_size=60))
def test_any_text_is_answered_in_words(text: str) -> None:
    """Whatever stands there, it is understood or refused by a TrustError."""
    try:
        Tolerance.parse(text)
    except TrustError as refusal:
        assert refusal.what  # noqa: PT017 - either outcome is right
