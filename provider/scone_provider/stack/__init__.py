"""The stack: its settings, its secrets, and what production forbids."""
