"""The audit log: written before the effect, chained and signed, verified by anyone."""
