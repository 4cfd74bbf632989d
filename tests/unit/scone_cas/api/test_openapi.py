"""The OpenAPI documents: what is served is what is checked in, on both ports. `--remake-goldens` writes them anew."""

import json
from pathlib import Path

import pytest

from scone_cas.api.http import Request

DOCUMENTS = Path(__file__).parents[4] / "docs" / "openapi"


@pytest.mark.parametrize("port", ["client", "enclave"])
def test_served_document_is_the_one_in_docs(cas, golden, port: str) -> None:
    """A reader of docs/openapi sees what the CAS serves."""
    api = getattr(cas.parts, f"{port}_api")
    answer = api.handle(Request(method="GET", path="/v1/openapi.json"))
    assert (answer.status, answer.content_type) == (200, "application/json")
    golden(DOCUMENTS / f"{port}.json", json.dumps(json.loads(answer.body), indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("port", ["client", "enclave"])
def test_every_route_is_described(cas, port: str) -> None:
    """Each described route is served with its method alone: others get 405 and the method that is."""
    api = getattr(cas.parts, f"{port}_api")
    paths = json.loads((DOCUMENTS / f"{port}.json").read_bytes())["paths"]
    for path, operations in paths.items():
        (served,) = operations
        concrete = path.replace("{name}", "a/b").replace("{selector}", "session=a")
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = api.handle(Request(method=method, path=concrete))
            assert (answer.status == 405) == (method != served.upper()), (method, path)
            if answer.status == 405:
                assert answer.headers == (("Allow", served.upper()),)
