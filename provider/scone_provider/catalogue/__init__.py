"""Curated services: ready-made images that a Meshfile names without a service manifest (docs/curated-services.md)."""
