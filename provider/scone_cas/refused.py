"""Refusals of the enclave port, which every module behind it may raise (docs/enclave-protocol.md, section 3)."""

from collections.abc import Iterable

from scone_cas.messages import Response, document


class RefusedError(Exception):
    """A request is refused: status, code and one line without secrets; `expected` and `found` where both exist."""

    def __init__(
        self, status: int, code: str, message: str, *, expected: Iterable[str] | None = None, found: str | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message
        self.expected, self.found = expected, found

    def response(self) -> Response:
        """The answer that says so."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.expected is not None and self.found is not None:
            error |= {"expected": list(self.expected), "found": self.found}
        return document(self.status, {"error": error})
