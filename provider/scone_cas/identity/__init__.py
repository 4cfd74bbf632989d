"""Who this CAS is: its identity, and the evidence over it that clients ask for."""
