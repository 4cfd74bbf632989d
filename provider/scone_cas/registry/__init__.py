"""Sessions as they are kept: uploaded, replaced, read, and who may do it."""
