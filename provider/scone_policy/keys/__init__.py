"""Public keys: PEM, key hashes, and what the certificate and the evidence of a CAS prove."""
