"""Puts secrets in the place of placeholders when a service attests; what was put in is never looked at again."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from scone_cas.errors import UndeliverableError
from scone_cas.secrets.encoding import spell
from scone_cas.secrets.value import Value
from scone_policy.model.session import Session
from scone_policy.rules.secret_names import kinds_of
from scone_policy.syntax import config_fragments
from scone_policy.syntax.placeholders import OPENING, SUFFIXES, Placeholder, is_reference, parts, resolve

Values = Callable[[str], Value]
LARGEST = 12 * 1024 * 1024
"""Bytes of all that is put in for one answer. No answer holds more."""


class PlaceholderSubstituter:
    """Fills the texts of one session. `values` finds a secret's value by name; what it raises comes through.

    One is for one answer: what it puts in is counted, and more than 12 MiB are refused while they are put in.
    """

    def __init__(self, session: Session, values: Values) -> None:
        self._session = session
        self._values = values
        self._kinds = kinds_of(session.secrets)
        self._spelt: dict[tuple[str, str, bool], bytes] = {}
        self._left = LARGEST

    def content(self, text: str) -> bytes:
        """The text with its placeholders replaced. Raises UndeliverableError."""
        if OPENING not in text:
            return text.encode()
        return b"".join(self._piece(part) for part in parts(text))

    def text(self, where: str, text: str) -> str:
        """The same as text without NUL. Raises UndeliverableError, naming `where`."""
        if OPENING not in text:
            return text
        try:
            filled = self.content(text).decode()
        except UnicodeDecodeError:
            raise UndeliverableError(f"{where}: a secret put in here is not text") from None
        if "\0" in filled:
            raise UndeliverableError(f"{where}: a secret put in here holds NUL")
        return filled

    def key(self, where: str, text: str) -> str:
        """A file system's key, 64 hex digits: as given, or of a binary secret. Raises UndeliverableError."""
        (part,) = parts(text)
        if not isinstance(part, Placeholder):
            return part
        name, _ = resolve(part, self._kinds)
        value = self._values(name)
        if value.kind != "binary" or len(value.content) != 32:
            raise UndeliverableError(f"{where}: {name} is not a binary secret of 32 bytes")
        return value.content.hex()

    def tree(self, where: str, text: str) -> object:
        """What stands for a part of the policy: the tree in a config fragment, else text. Raises UndeliverableError."""
        if is_reference(text):
            (part,) = parts(text)
            assert isinstance(part, Placeholder)
            name, _ = resolve(part, self._kinds)
            value = self._values(name)
            if value.kind == "config-fragment":
                self._count(len(value.content))
                try:
                    return config_fragments.load(value.content.decode())
                except ValueError:
                    raise UndeliverableError(f"{where}: {name} is no config fragment") from None
        return self.text(where, text)

    def trees(self, where: str, texts: Iterable[str]) -> list[object]:
        """The trees of several texts; a list goes into the list."""
        found: list[object] = []
        for text in texts:
            tree = self.tree(where, text)
            found += tree if isinstance(tree, list) else [tree]
        return found

    def forms(self, name: str) -> dict[str, bytes]:
        """A secret in all forms that it has, by what stands between `$$SCONE::` and `$$` for each."""
        value = self._values(name)
        found = {}
        for suffix in sorted(SUFFIXES.get(value.kind, ())):
            with suppress(ValueError):
                found[f"{name}{suffix}"] = spell(value, suffix, escape_json=False)
                self._count(len(found[f"{name}{suffix}"]))
        return found

    def _piece(self, part: str | Placeholder) -> bytes:
        if isinstance(part, str):
            self._count(len(part))
            return part.encode()
        name, suffix = resolve(part, self._kinds)
        key = (name, suffix, part.escape_json)
        if key not in self._spelt:
            try:
                self._spelt[key] = spell(self._values(name), suffix, escape_json=part.escape_json)
            except ValueError as problem:
                raise UndeliverableError(f"secret {name}: {problem}") from None
        self._count(len(self._spelt[key]))
        return self._spelt[key]

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise UndeliverableError("the configuration is too large to be delivered")
