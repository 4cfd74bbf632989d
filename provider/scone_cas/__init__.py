"""The embedded CAS: a server of its own, over the wire of a real one. Imports scone_policy, nothing of the provider.

The way in, from the outside to the inside:

- processes: `__main__`, `server` starts `client_port` and `enclave_port`; `parts` puts together what they serve
- requests: `client_api`, `enclave_api` and `keeping` answer `messages`; `openapi` describes them
- sessions: `description` reads an upload, `access` decides, `sessions` stores it, `live` is what stands
- secrets: `making` at an upload, `views` for whoever asks; `sharing` and `peers` find them, `spelling` and `filling`
  put them in their place
- enclaves: `evidence` says who asks, `terms` judge it, `passwords` too, `delivery` answers; then `leases`, `tags` and
  `volumes`
- what is kept: `state`, `store`, `seal`; `audit` tells what happened
"""

VERSION = "0.2.0"
