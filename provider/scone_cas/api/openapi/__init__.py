"""The OpenAPI documents of the two ports (docs/openapi/ is a copy)."""

from scone_cas.api.openapi.builders import PATH
from scone_cas.api.openapi.client_port import client
from scone_cas.api.openapi.enclave_port import enclave

__all__ = ["PATH", "client", "enclave"]
