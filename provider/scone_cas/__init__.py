"""The embedded CAS: a server of its own, over the wire of a real one. Imports scone_policy, nothing of the provider."""

VERSION = "0.1.0"
