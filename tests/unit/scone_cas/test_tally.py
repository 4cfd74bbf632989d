"""What strangers cause is told once, then counted."""

from scone_cas.tally import INTERVAL, KINDS, Tally


def test_first_then_how_many() -> None:
    """The first of a kind is told; the rest of the interval is a number, told when it is over."""
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    assert [tally.is_news("refused", "a") for _ in range(4)] == [True, False, False, False]
    assert tally.is_news("refused", "b")
    assert tally.due() == []
    now[0] = INTERVAL
    assert [(found.group, found.kind, found.count, found.seconds) for found in tally.due()] == [("refused", "a", 3, 60)]
    assert tally.is_news("refused", "a")


def test_many_kinds_are_few_entries() -> None:
    """However many kinds a stranger invents: so many are told, one number for each group, and ever less often."""
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    written = 0
    for second in range(24 * 3600):
        now[0] += 1
        for number in range(3):
            written += tally.is_news(f"group {number % 2}", f"{second}-{number}")
        written += len(tally.due())
    assert written < 40 * (KINDS + 2)


def test_nothing_is_lost() -> None:
    """Told and counted are together what happened."""
    tally = Tally(clock=lambda: 0.0)
    told = sum(tally.is_news("g", number % 40) for number in range(1000))
    assert told + sum(found.count for found in tally.due(at_once=True)) == 1000
    assert tally.due(at_once=True) == []
