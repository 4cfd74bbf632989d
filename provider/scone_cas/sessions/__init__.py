"""What an upload says: its description, what is refused in it, and who its access policy lets in."""
