"""Who an enclave is and what it receives: evidence, appraisal, delivery, leases (RFC 9334)."""
