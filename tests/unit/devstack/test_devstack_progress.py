import io

from tools.devstack.progress import Progress, about, duration, is_terminal


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_plain_lines_say_start_estimate_heartbeat_and_end() -> None:
    """Where no one redraws lines, each event is a line of its own, and a heartbeat shows that it goes on."""
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(stream=stream, live=False, clock=lambda: now[0])
    progress.begin("toolchain", estimate=540)
    now[0] = 192
    progress.beat()
    progress.end("toolchain", outcome="done in 3:12")
    assert stream.getvalue().splitlines() == [
        "toolchain: started, about 9 min",
        "toolchain 3:12 of about 9 min",
        "toolchain: done in 3:12",
    ]


def test_a_detail_with_an_estimate_starts_its_own_clock() -> None:
    """The time shown is that of the part which runs, beside the estimate for that part."""
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(stream=stream, live=False, clock=lambda: now[0])
    progress.begin("toolchain", estimate=600)
    now[0] = 100
    progress.detail("toolchain", "kube", estimate=370)
    now[0] = 130
    progress.beat()
    assert stream.getvalue().splitlines()[1:] == ["toolchain: kube, about 6 min", "toolchain: kube 30 s of about 6 min"]


def test_the_heartbeat_is_silent_about_what_has_just_begun() -> None:
    """A line a second old needs no reminder."""
    stream = io.StringIO()
    progress = Progress(stream=stream, live=False, clock=lambda: 1.0)
    progress.begin("keys", estimate=1)
    progress.beat()
    assert stream.getvalue() == "keys: started, about 1 s\n"


def test_a_live_line_is_wiped_before_a_line_that_stays() -> None:
    """On a terminal nothing of the live line remains in front of what is printed next."""
    stream = Terminal()
    with Progress(stream=stream, live=True) as progress:
        progress.begin("registry", estimate=2)
        progress._draw()
        progress.line("hello")
    assert "\r\x1b[Khello\n" in stream.getvalue()


def test_continuous_integration_is_no_terminal() -> None:
    """CI gets plain lines even where it offers a terminal, and so do pipes and dumb terminals."""
    assert is_terminal(Terminal(), {})
    assert not is_terminal(Terminal(), {"CI": "true"})
    assert not is_terminal(Terminal(), {"TERM": "dumb"})
    assert not is_terminal(io.StringIO(), {})


def test_times_read_as_people_say_them() -> None:
    """Seconds below a minute, minutes and seconds above; estimates are rounded."""
    assert [duration(value) for value in (0.4, 59.9, 60, 192)] == ["0 s", "59 s", "1:00", "3:12"]
    assert [about(value) for value in (15, 560)] == ["about 15 s", "about 9 min"]
