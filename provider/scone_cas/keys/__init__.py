"""Keys, certificates and JSON Web Tokens, as values: nothing here knows of sessions."""
