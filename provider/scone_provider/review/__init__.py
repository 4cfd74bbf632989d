"""What a preview changes in who is trusted with what: judged, ordered by importance, written for people and tools."""
