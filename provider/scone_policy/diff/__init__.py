"""Differences between two policies, and what each means for trust."""
