"""Bytes of every sort against everything that reads what others wrote."""
