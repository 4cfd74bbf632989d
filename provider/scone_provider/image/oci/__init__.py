"""Images as the OCI describes them: references, canonical JSON, layers, file trees."""
