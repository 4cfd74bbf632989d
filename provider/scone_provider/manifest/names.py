"""Names of Kubernetes objects, made of the names that people give to services."""

import re


def kubernetes_name(name: str) -> str:
    """`name` as Kubernetes takes it: lower case letters, digits, dashes, a letter first; empty when nothing is left."""
    lowered = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return lowered if not lowered or lowered[0].isalpha() else f"s-{lowered}"
