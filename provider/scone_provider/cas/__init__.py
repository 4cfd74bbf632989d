"""The client of a CAS: who we are, which CAS we trust, and what we ask of it. No Pulumi."""
