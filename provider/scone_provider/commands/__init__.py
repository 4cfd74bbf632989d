"""Commands that need no Pulumi and no network: what they read is on disk, what they find goes to standard output."""
