"""What the resources of images share: the registry as the stack's settings say, and progress."""

import sys
from collections.abc import Mapping
from typing import cast

from scone_provider.errors import ImageError
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.publish.ownership import claim, new_owner, release
from scone_provider.image.publish.push import alone
from scone_provider.image.registry.client import Registry
from scone_provider.image.registry.connection import RegistryOptions
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.resources._engine import warn
from scone_provider.stack.settings import Settings

OWNERSHIP = frozenset({"pushed", "owner", "owners", "tags"})
"""Outputs that say which images are this resource's; no inputs, so that nothing of them shows as a difference.

`owner` is this resource's number, `owners` maps references to the number that their record in the registry has, `tags`
has the tags that it gave them, `pushed` the references that it brought. A state made before images had owners has
`pushed` alone.
"""


def registry_of(settings: Settings) -> Registry:
    """The registries of this stack, with its mirrors."""
    return Registry(RegistryOptions(mirrors=settings.mirrors, insecure_registries=settings.insecure_registries))


def tell(line: str) -> None:
    """One line of progress: the engine shows a provider's output as `info` lines."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201


def check_demanded(inputs: Mapping[str, object], digest: str | None, *, where: str) -> None:
    """Raise ImageError when another image was built than the one that `demanded` of the inputs names, if any."""
    demanded = inputs.get("demanded")
    if demanded and demanded != digest:
        raise ImageError(
            f"the Meshfile demands {demanded}, and what is built is {digest}",
            where=where,
            fix="leave the digest out, or build from the files, base and key that it was built from",
        )


def public_name(secret: object, *, where: str) -> None:
    """Raise ImageError where the name of an image is a Pulumi secret: `{"to": True}` in the input `secret`."""
    if isinstance(secret, Mapping) and secret.get("to"):
        raise ImageError(
            "the name of an image cannot be a secret: registry, cluster and everybody who sees a pod know it",
            where=where,
            fix="give it as what it is: pulumi.Output.unsecret(…)",
        )


def claimed(
    olds: Mapping[str, object], reference: str, to: str, *, registry: Registry, brings: bool
) -> dict[str, object]:
    """The outputs of `OWNERSHIP` after this resource was recorded as an owner of `reference`; `to` is its tagged name.

    A registry that takes no record is told: the image is then removed by nobody of ours.
    """
    owner = str(olds.get("owner") or new_owner())
    tag = parse_reference(to).tag or "latest"
    pushed, owners, tags = (_table(olds, key) for key in ("pushed", "owners", "tags"))
    try:
        claim(reference, owner, registry=registry, brings=brings)
        owners = {**owners, reference: owner}
    except ImageError as error:
        warn(
            f"{reference}: its registry does not record who uses it, so that no `destroy` will remove it: {error.what}"
        )
    return {
        "owner": owner,
        "owners": owners,
        "tags": {**tags, tag: True},
        "pushed": {**pushed, reference: True} if brings else pushed,
    }


def let_go(props: Mapping[str, object], *, registry: Registry) -> None:
    """Remove this resource's images, but for those that anybody else may use: they stay, and that is said."""
    owners, pushed = _table(props, "owners"), _table(props, "pushed")
    tags = tuple(sorted(_table(props, "tags")))
    for reference in sorted({**owners, **pushed}):
        if reference not in owners:
            warn(
                f"{reference} stays: there is no record of who uses it, and another stack may; "
                "delete it in its registry when nobody does"
            )
            continue
        try:
            with alone(reference, BaseCache()):
                result = release(reference, str(owners[reference]), registry=registry, tags=tags)
        except RegistryUnavailableError as error:
            raise ImageError(
                error.what,
                where=f"{reference}: {error.where}",
                fix="check that the registry can be reached; where it is gone for good, so is the image: take the "
                "resource out of the state (`pulumi state delete` with its URN), and run the command again",
            ) from None
        if not result.removed:
            warn(f"{reference} stays: {result.stays}")


def _table(props: Mapping[str, object], key: str) -> dict[str, object]:
    return dict(cast("Mapping[str, object]", props.get(key) or {}))
