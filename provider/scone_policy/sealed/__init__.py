"""Sessions under a signature or an encryption."""
