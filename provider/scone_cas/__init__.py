"""The embedded CAS: a server of its own, over the wire of a real one. Imports scone_policy, nothing of the provider.

The way in, from the outside to the inside:

- processes: `__main__`, `server.supervisor` starts `server.client_port` and `server.enclave_port`; `server.assembly`
  puts together what they serve
- requests: `api.client` and `api.enclave` answer `api.http`; `api.openapi` describes them
- sessions: `sessions.descriptions` reads an upload, `sessions.authorization` decides, `registry.uploads` stores it;
  `registry.snapshots` finds what stands, a `sessions.snapshot`
- secrets: `secrets.generation` at an upload, `secrets.resolver` for whoever asks; `secrets.imports` and `federation`
  find them, `secrets.encoding` and `secrets.substitution` put them in their place
- enclaves: `attestation.evidence` says who asks, `attestation.appraisal` judges it, `attestation.one_time_passwords`
  too, `attestation.delivery` answers; then `attestation.leases` and `filesystems`
- what is kept: `storage`; `audit` tells what happened
"""

VERSION = "0.2.0"
