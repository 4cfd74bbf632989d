"""What a resource tells its provider about itself: providers get neither URN nor stack."""

import hashlib

import pulumi


def owner_of(kind: str, name: str, opts: pulumi.ResourceOptions | None) -> dict[str, pulumi.Input[str]]:
    """`stack` and `resource`, hashed to 16 hex digits each: the same in every run, others for any other resource.

    `kind` is its type. The parent counts by its URN, and nothing is made to depend on it.
    """
    stack = (pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack())
    return {"stack": _hashed(*stack), "resource": pulumi.Output.from_input(_resource(kind, name, opts))}


async def _resource(kind: str, name: str, opts: pulumi.ResourceOptions | None) -> str:
    above = await opts.parent.urn.future() if opts is not None and opts.parent is not None else ""
    return _hashed(above, kind, name)


def _hashed(*parts: str | None) -> str:
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:16]
