"""The root of every error that a user can cause, and the errors of this package.

SconeError                what is wrong, where, what to do
├─ PolicyError            a session description breaks a rule
├─ ManifestError          a service manifest or Meshfile breaks a rule (scone_provider.errors)
├─ PreviewError           a text is no preview of Pulumi's (scone_provider.errors)
├─ TrustError             a CAS is not, or no longer, the one that was trusted
├─ CasError               a CAS refused or could not be reached
├─ ImageError             an image could not be resolved, built, pushed or removed
└─ DeployError            the deployment did not come up
"""


class SconeError(Exception):
    """An error with what a person needs: what is wrong, where, and what to do now.

    `where` is `file:line` and/or a path such as `services.api.command`; `fix` is an imperative sentence.
    Neither may ever contain a secret value: the text goes to transcripts that others read. An error that stands for
    several has each of them in `parts`.
    """

    parts: "tuple[SconeError, ...]" = ()

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  → {self.fix}" if self.fix else head


class RuleError(ValueError):
    """One value breaks a rule: what a reader of values raises, for models to turn into an error with its place.

    The text is the rule in words; `fix` is the next step, an imperative sentence. Neither may hold a secret value.
    """

    def __init__(self, rule: str, *, fix: str) -> None:
        super().__init__(rule)
        self.fix = fix


class PolicyError(SconeError):
    """A session description breaks a rule of the session language."""
