"""Images on their way out: pushed, signed, and whose they are."""
