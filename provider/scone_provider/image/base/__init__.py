"""Base images: resolved, fetched, unpacked and locked."""
