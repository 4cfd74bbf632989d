"""Forms of a session: canonical, on the wire, as a digest."""
