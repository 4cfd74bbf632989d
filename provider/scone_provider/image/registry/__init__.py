"""The client of a registry: tokens, transport, manifests and blobs."""
