"""Rules that a session keeps beyond its model: references, versions, texts, warnings."""
