"""Counts what is done with each document on the way from manifests to a plan."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from scone_policy.syntax.yaml_source import Document
from scone_provider.commands import check
from scone_provider.derive import pipeline, variable_substitution
from scone_provider.manifest import load


class Readings:
    """By what is done, how often it is done with each file: `read`, `judged`, `filled` (and judged then), `named`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.counts: dict[str, Counter[str]] = {}
        self._count("read", load, "read", lambda _text, **how: how["file"])
        self._count("read", check, "read", lambda _text, **how: how["file"])
        self._count("judged", load, "judged", _file_of)
        self._count("judged", check, "judged", _file_of)
        self._count("filled", variable_substitution, "judged", _file_of)
        self._count("named", variable_substitution, "_with_destination", lambda manifest, _variables: manifest.file)
        self._count("settled", pipeline, "filled_service", lambda manifest, _variables: manifest.file)

    def _count(self, what: str, module: object, function: str, file: Callable[..., str | None]) -> None:
        real, counter = getattr(module, function), self.counts.setdefault(what, Counter())

        def counted(*args: Any, **keywords: Any) -> Any:
            counter[str(file(*args, **keywords))] += 1
            return real(*args, **keywords)

        self._monkeypatch.setattr(module, function, counted)


def _file_of(_model: object, document: Document, **_how: object) -> str | None:
    return document.file
