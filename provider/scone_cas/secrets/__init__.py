"""Secrets: generated, imported, issued, resolved for whoever asks, and put in their places."""
