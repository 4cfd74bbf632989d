"""What OpenAPI documents are built of: operations, parameters, answers, schemas that several routes share."""

from collections.abc import Mapping

from scone_cas import VERSION

PATH = "/v1/openapi.json"

Tree = dict[str, object]

HASH: Tree = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
SEGMENT = r"(?!\.{1,2}(?:[/,]|$))[A-Za-z0-9_.~-]{1,128}"
NAME: Tree = {"type": "string", "maxLength": 256, "pattern": f"^{SEGMENT}(?:/{SEGMENT})*$"}
NAMESPACE: Tree = {"type": "string", "maxLength": 256, "pattern": f"^(?:/|{SEGMENT}(?:/{SEGMENT})*)$"}
BASE64: Tree = {"type": "string", "contentEncoding": "base64"}
MAC: Tree = {"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44}
_BUSY: Tree = {"Retry-After": {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
_ALLOW: Tree = {"Allow": {"description": "the methods that are served", "schema": {"type": "string"}}}


def document(title: str, description: str, paths: Tree, schemas: Tree) -> Tree:
    """A whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Embedded CAS: {title}", "version": VERSION, "description": description},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def operation(
    name: str,
    summary: str,
    responses: Mapping[str, object],
    *,
    parameters: list[Tree] | None = None,
    body: Tree | None = None,
) -> Tree:
    """What one method of one route does."""
    found: Tree = {"operationId": name, "summary": summary}
    if parameters:
        found["parameters"] = parameters
    if body:
        found["requestBody"] = body
    return found | {"responses": dict(responses)}


def path_parameter(name: str, schema: Tree) -> Tree:
    """A part of the route."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def query_parameter(name: str, schema: Tree, *, required: bool) -> Tree:
    """A part of the query."""
    return {"name": name, "in": "query", "required": required, "schema": schema}


def body_of(kind: str, schema: Tree) -> Tree:
    """A body of that media type."""
    return {"required": True, "content": {kind: {"schema": schema}}}


def json_object(*, required: tuple[str, ...] | None = None, **properties: object) -> Tree:
    """An object with these properties and no others, all of them required unless it is said which."""
    return {
        "type": "object",
        "required": list(properties if required is None else required),
        "properties": properties,
        "additionalProperties": False,
    }


def lease_message(keys: str) -> Tree:
    """A message under a lease; `keys` are those of the JSON object in its body."""
    body = BASE64 | {"description": f"a JSON object with the keys {keys}"}
    return json_object(lease={"type": "string", "pattern": "^[0-9a-f]{32}$"}, body=body, mac=MAC)


def document_schema() -> Tree:
    """The schema of such a document."""
    return {"type": "object", "required": ["openapi", "info", "paths"]}


def answer(description: str, kind: str, schema: Tree) -> Tree:
    """An answer of that media type."""
    return {"description": description, "content": {kind: {"schema": schema}}}


def json_answer(description: str, schema: str) -> Tree:
    """An answer in JSON with the schema of that name."""
    return answer(description, "application/json", {"$ref": f"#/components/schemas/{schema}"})


def text_answer(description: str) -> Tree:
    """An answer in plain text."""
    return answer(description, "text/plain", {"type": "string"})


_MEANINGS = {
    400: "the request breaks a rule",
    403: "not for this caller, or this evidence",
    404: "there is no such thing",
    405: "another method than those served",
    409: "another version came first",
    413: "larger than the limit",
    429: "too many requests",
    500: "the CAS's own fault",
    501: "a part of the session language that this version does not serve",
    502: "another CAS does not share, or does not answer",
    503: "too much to do",
}
_ANYWHERE = (405, 413, 429, 500, 503)


def errors(*statuses: int) -> Tree:
    """Refusals with these statuses, and those that every route has."""
    return {
        str(status): json_answer(_MEANINGS[status], "Error") | _headers(status) for status in (*statuses, *_ANYWHERE)
    }


def session_errors(*statuses: int) -> Tree:
    """The `/session` routes say it in plain text, except what is refused before the route is known."""
    either: Tree = {
        "text/plain": {"schema": {"type": "string"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}},
    }
    return {
        str(status): {"description": _MEANINGS[status], "content": either} | _headers(status)
        for status in (*statuses, *_ANYWHERE)
    }


def _headers(status: int) -> Tree:
    found: Mapping[int, Tree] = {405: _ALLOW, 429: _BUSY, 503: _BUSY}
    return {"headers": found[status]} if status in found else {}
