"""The session and its sections, as models."""
