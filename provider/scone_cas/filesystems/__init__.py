"""Encrypted file systems: volumes and the tags of their newest state."""
