"""The one error of the development stack: what is wrong, where, and what to do now."""


class DevstackError(Exception):
    """Set-up cannot go on. `where` is a step, a path or a port; `fix` an imperative sentence."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  → {self.fix}" if self.fix else head
