"""What a program tells its providers about itself: they get neither URN nor stack."""

import hashlib

import pulumi


def stack_hash() -> str:
    """Organization, project and stack, hashed to 16 hex digits."""
    parts = (pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack())
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:16]
