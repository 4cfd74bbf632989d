"""Protection of files: keys, sealing, the protection file, the measurement."""
