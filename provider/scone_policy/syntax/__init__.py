"""Spellings: YAML and JSON, names, durations, placeholders, holes, and problems with their place."""
