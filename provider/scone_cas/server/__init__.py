"""Processes: options, ports, their supervisor, and the assembly of what they serve."""
