"""What the engine and cluster tests share: a Pulumi project of their own, tampering, searching for secrets."""
