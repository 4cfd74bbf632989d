"""The changes of a Python source that are tried, each as a replacement of one piece of its text."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"),
    ast.BitXor: (r"\^", "&"),
}
_CALLS = {"sorted": "(lambda a, **_: list(a))", "min": "max", "max": "min", "any": "all", "all": "any"}
_Change = tuple[tuple[int, int], str, str]
"""Where, what stands there then, and the kind of change."""
_TYPES = ("annotation", "returns", "decorator_list", "bases", "type_params")
"""Fields of a node that say what something is, not what it does."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """The bytes from `start` to `end` of file `path` become `text`; `lines` are those of the statement around it."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    text: str
    lines: tuple[int, ...]

    def apply(self, source: bytes) -> bytes:
        """The changed source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def diff(self, source: bytes) -> tuple[str, str]:
        """The lines that change, before and after."""
        first, last = source.rfind(b"\n", 0, self.start) + 1, source.find(b"\n", self.end)
        after = source[first : self.start] + self.text.encode() + source[self.end : last]
        return source[first:last].decode().strip(), after.decode().strip()


class _Finder:
    """Walks one module; `lines` of a mutant are found on the way down."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source
        self._starts = [0, *(match.end() for match in re.finditer(b"\n", source))]

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def walk(self, node: ast.AST, lines: tuple[int, ...], *, running: bool) -> Iterator[Mutant]:
        """Every mutant at or below `node`; `running` within functions, as opposed to while a module is imported."""
        if isinstance(node, ast.stmt):
            if _says_nothing(node):
                return
            body = getattr(node, "body", None)
            end = node.lineno if isinstance(body, list) else node.end_lineno or node.lineno
            lines = tuple(range(node.lineno, end + 1))
        if isinstance(node, ast.expr | ast.stmt):
            for (start, end), text, kind in self._at(node, running=running):
                line = self._source.count(b"\n", 0, start) + 1
                yield Mutant(path=self._path, line=line, kind=kind, start=start, end=end, text=text, lines=lines)
        if isinstance(node, ast.JoinedStr):  # Python 3.11 does not know where its parts stand
            return
        inside = running or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for field, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and field not in _TYPES:
                    yield from self.walk(child, lines, running=inside and field != "args")

    def _at(self, node: ast.expr | ast.stmt, *, running: bool) -> Iterator[_Change]:
        if isinstance(node, ast.stmt):
            yield from self._statement(node)
        else:
            yield from self._expression(node, running=running)
        tests = [node.test] if isinstance(node, ast.If | ast.While | ast.IfExp) else []
        for generator in getattr(node, "generators", ()):
            tests += generator.ifs
        for test in tests:
            if not isinstance(test, ast.Compare | ast.UnaryOp):  # those have a mutant that says the same
                yield self._span(test), f"(not ({self._text(self._span(test))}))", "condition"

    def _statement(self, node: ast.stmt) -> Iterator[_Change]:
        match node:
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield self._span(value), "None", "return"
            case ast.Raise() | ast.AugAssign() | ast.Expr(value=ast.Call() | ast.Await()):
                yield self._span(node), "pass", "statement"
            case ast.Continue() | ast.Break():
                yield self._span(node), "break" if isinstance(node, ast.Continue) else "continue", "statement"

    def _expression(self, node: ast.expr, *, running: bool) -> Iterator[_Change]:
        span = self._span(node)
        match node:
            case ast.Compare():
                for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
                    yield self._between(left, right, *_COMPARISONS[type(operator)], kind="comparison")
            case ast.BoolOp():
                words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in pairwise(node.values):
                    yield self._between(left, right, *words, kind="logic")
            case ast.BinOp(op=op) if type(op) in _OPERATORS and (running or not isinstance(op, ast.BitOr)):
                yield self._between(node.left, node.right, *_OPERATORS[type(op)], kind="operator")
            case ast.UnaryOp(op=ast.Not()):
                yield span, self._text(span)[3:].lstrip(), "negation"
            case ast.Constant() | ast.JoinedStr():
                if (text := _other(node)) is not None:
                    yield span, text, "constant"
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                yield self._span(node.func), _CALLS[name], "call"

    def _text(self, span: tuple[int, int]) -> str:
        return self._source[slice(*span)].decode()

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str, *, kind: str) -> _Change:
        """The operator `old` (a regular expression) in the gap between two operands."""
        span = (self._span(left)[1], self._span(right)[0])
        return span, re.sub(old, new, self._text(span), count=1), kind


def _says_nothing(node: ast.stmt) -> bool:
    """Docstrings, what only type checkers read, and lists of names for `import *`."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
    return False


def _other(node: ast.Constant | ast.JoinedStr) -> str | None:
    """Another value in the place of this one: a text becomes empty, a number one more."""
    match node.value if isinstance(node, ast.Constant) else "f":
        case bool() as value:
            return repr(not value)
        case int() | float() as value:
            return repr(value + 1)
        case "":
            return '"mutant"'
        case str():
            return '""'
        case bytes() as value:
            return 'b""' if value else 'b"mutant"'
    return None


def find(path: str, source: bytes) -> list[Mutant]:
    """All mutants of the module at `path` in the order of their places; the same for the same text."""
    found = _Finder(path, source).walk(ast.parse(source), (), running=False)
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.text))
