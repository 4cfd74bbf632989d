"""Manifests and image facts in, policies and chart values out. Pure: no Pulumi, no I/O."""

from scone_provider.derive.facts import ImageFacts, MeshPlan
from scone_provider.derive.plan import PlanRequest, derive

__all__ = ["ImageFacts", "MeshPlan", "PlanRequest", "derive"]
