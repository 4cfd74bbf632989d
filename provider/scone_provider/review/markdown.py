"""A review as a comment on a pull request: Markdown in which no value can end a block or speak for itself."""

import re
from collections.abc import Iterator

from scone_provider.review.collect import Review
from scone_provider.review.finding import Direction, Finding, shown

LIMIT = 65_536
"""Characters that GitHub and GitLab take as one comment."""
_HEADINGS = {
    Direction.WIDENS: "Widens who or what is trusted",
    Direction.REGENERATES: "Secrets that are lost or made anew",
    Direction.RESTARTS: "Restarts",
    Direction.NARROWS: "Narrows who or what is trusted",
    Direction.CHANGES: "Trusts something else",
}
_HEADLINE = {
    Direction.WIDENS: "widens trust",
    Direction.REGENERATES: "loses secrets",
    Direction.RESTARTS: "restarts pods",
    Direction.NARROWS: "narrows trust",
    Direction.CHANGES: "changes what is trusted",
    Direction.NEUTRAL: "changes nothing that is trusted",
}
_DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "import": "imported"}
_CUT = "- … {count} more left out, the least important ones; `--format json` has all of them"
_ACTIVE = re.compile(r"[\\`*_{}\[\]#!|<>&~@]|:(?=\S)|(?<=www)\.")
"""What Markdown, GitHub and GitLab read something into: marks, HTML, mentions, emoji and addresses."""
_ROOM = 200
"""Characters kept free for what says that something was left out."""


def markdown(review: Review, *, limit: int = LIMIT) -> str:
    """The comment, at most `limit` characters; what matters least is left out first, and that is said."""
    head = [f"### Preview of {code(review.stack)}: {_headline(review)}", ""]
    tail = [*_fold("Standing warnings", review.standing), *_others(review)]
    for error in review.errors:
        head += [f"- **error** {code(error)}"]
    head += [f"- **warning** {code(warning)}" for warning in review.warnings]
    head += [""] if review.errors or review.warnings else []
    lines = [*_sections(review), *_neutral(review)]
    left = limit - _ROOM - _length(head) - _length(tail)
    if left < 0:
        tail, left = [], limit - _ROOM - _length(head)
    kept = _fitting(lines, left)
    if len(kept) < len(lines):
        kept.append(_CUT.format(count=sum(line.startswith("- ") for line in lines[len(kept) :])))
    text = "\n".join([*head, *kept, *tail])
    return f"{text[: limit - 1].rstrip()}\n"


def code(text: str) -> str:
    """A text as an inline code span on one line: longer backticks around it than in it, control characters spelt."""
    visible = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", visible)), default=0) + 1)
    padding = " " if visible[0] in "` " or visible[-1] in "` " else ""
    return f"{fence}{padding}{visible}{padding}{fence}"


def _headline(review: Review) -> str:
    counted = ", ".join(f"{count} {_DONE.get(op, op)}" for op, count in review.counts.items())
    if not review.counts:
        return "the preview failed" if review.errors else "no changes"
    tail = f"; {len(review.of(Direction.WIDENS))} widening" if review.of(Direction.WIDENS) else ""
    failed = "the preview failed; " if review.errors else ""
    return f"{failed}{_HEADLINE[review.worst]} ({counted}{tail})"


def _sections(review: Review) -> Iterator[str]:
    for direction, heading in _HEADINGS.items():
        found = review.of(direction)
        if found:
            yield f"**{heading}**"
            yield ""
            yield from (_line(one) for one in found)
            yield ""


def _line(one: Finding) -> str:
    who = f"**{_plain(one.service)}** " if one.service else ""
    path = f" {code(one.path)}" if one.path else ""
    place = f", {code(one.place)}" if one.place else ""
    sides = [code(shown(side)) for side in (one.before, one.after) if side is not None]
    sign = "added " if one.before is None and one.after is not None else ""
    sign = "removed " if one.after is None and one.before is not None else sign
    values = f" {sign}{' → '.join(sides)}" if sides else ""
    return f"- {who}{_plain(one.meaning.rstrip('.'))}:{path}{values} ({code(one.resource)}){place}"


def _plain(text: str) -> str:
    """Words with names in them, which come from manifests: nothing of Markdown or HTML works in them."""
    visible = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return _ACTIVE.sub(lambda found: f"&#{ord(found.group())};", visible)


def _neutral(review: Review) -> Iterator[str]:
    found = review.of(Direction.NEUTRAL)
    if found:
        yield f"<details><summary>What follows from it ({len(found)})</summary>"
        yield ""
        yield from (_line(one) for one in found)
        yield ""
        yield "</details>"
        yield ""


def _fold(title: str, texts: tuple[str, ...]) -> list[str]:
    if not texts:
        return []
    lines = [f"- {code(text)}" for text in texts]
    return [f"<details><summary>{title} ({len(texts)})</summary>", "", *lines, "", "</details>", ""]


def _others(review: Review) -> list[str]:
    lines = [f"- {_DONE.get(op, op)}: {code(label)}" for op, label in review.others]
    if review.copies:
        lines.append(f"- {review.copies} of the engine's providers keep a copy of the stack's settings, which changed")
    return ["Beside these, nothing of which is judged here:", "", *lines, ""] if lines else []


def _length(lines: list[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _fitting(lines: list[str], room: int) -> list[str]:
    """The first lines that fit, with every fold closed."""
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    opened = sum(line.startswith("<details>") for line in kept) - sum(line == "</details>" for line in kept)
    return kept if not opened else kept[: max(n for n, line in enumerate(kept) if line.startswith("<details>"))]
