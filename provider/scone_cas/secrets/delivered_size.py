"""The least that a service receives, as far as a description tells it: what can never be delivered is not stored."""

from collections.abc import Mapping

from scone_cas.errors import Reason, Refusal
from scone_cas.secrets.substitution import LARGEST
from scone_policy.model.images import Image
from scone_policy.model.secrets import Secret
from scone_policy.model.session import Session
from scone_policy.rules.secret_names import kinds_of
from scone_policy.syntax.placeholders import OPENING, Placeholder, parts, resolve


def check_delivered(session: Session) -> None:
    """Raises Refusal for a service whose configuration is larger than any answer, whatever is generated.

    Sizes of given values and of random ones are known; all else counts as nothing. Time is linear in the description.
    """
    sizes = _Sizes(session)
    of_images = {name: sizes.of_image(image) for name, image in session.images.items()}
    for name, service in session.services.items():
        texts = (*(service.command or ()), *service.environment.values())
        size = sum(map(sizes.of_text, texts)) + of_images.get(service.image_name or "", 0)
        if size > LARGEST:
            raise Refusal(
                Reason.INVALID,
                f"services.{name}: its secrets put in, it would receive {size} bytes or more, "
                f"and at most {LARGEST} can be delivered: name large secrets less often",
            )


class _Sizes:
    def __init__(self, session: Session) -> None:
        self._kinds = kinds_of(session.secrets)
        self._secrets: Mapping[str, int] = {name: _least(secret) for name, secret in session.secrets.items()}

    def of_text(self, text: str) -> int:
        """Characters of what a text becomes, at the least."""
        if OPENING not in text:
            return len(text)
        return sum(len(part) if isinstance(part, str) else self._of(part) for part in parts(text))

    def of_image(self, image: Image) -> int:
        """The same for all files that are put into an image."""
        return sum(self.of_text(file.content) for file in image.injection_files.values() if file.content is not None)

    def _of(self, part: Placeholder) -> int:
        try:
            return self._secrets.get(resolve(part, self._kinds)[0], 0)
        except ValueError:
            return 0


def _least(secret: Secret) -> int:
    """Bytes of the shortest form of a value; 0 where it is not known."""
    if secret.kind == "binary" and isinstance(secret.value, str):
        return len(secret.value) // 2
    if secret.kind in ("ascii", "config-fragment") and isinstance(secret.value, str):
        return len(secret.value)
    return secret.size if secret.kind in ("ascii", "binary") and isinstance(secret.size, int) else 0
