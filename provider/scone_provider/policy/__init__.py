"""Policies in state and at CAS: files, revisions, owners, history, upload."""
