"""What the Pulumi engine runs: manifests, derivation, CAS client, images, chart, dynamic providers."""
