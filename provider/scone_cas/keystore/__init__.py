"""Keys in a PKCS#11 token: settings, the token, what it holds, and how the CAS is unsealed with it."""
