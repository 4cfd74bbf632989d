"""The OpenAPI documents of the two ports, as data beside the handlers that they describe (docs/openapi/ is a copy)."""

from collections.abc import Mapping

from scone_cas import VERSION

PATH = "/v1/openapi.json"

Tree = dict[str, object]

_HASH: Tree = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SEGMENT = r"(?!\.{1,2}(?:[/,]|$))[A-Za-z0-9_.~-]{1,128}"
_NAME: Tree = {"type": "string", "maxLength": 256, "pattern": f"^{_SEGMENT}(?:/{_SEGMENT})*$"}
_NAMESPACE: Tree = {"type": "string", "maxLength": 256, "pattern": f"^(?:/|{_SEGMENT}(?:/{_SEGMENT})*)$"}
_BASE64: Tree = {"type": "string", "contentEncoding": "base64"}
_MAC: Tree = {"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44}
_BUSY: Tree = {"Retry-After": {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
_ALLOW: Tree = {"Allow": {"description": "the methods that are served", "schema": {"type": "string"}}}


def client() -> Tree:
    """The document of the client port."""
    return _document(
        "client API",
        "Sessions. A TLS client certificate of any make identifies the caller by its key. "
        "Names may hold `/`, as they are or percent-encoded.",
        {
            "/session": {
                "post": _operation(
                    "createSession",
                    "Create a session, or replace the version that `predecessor` names.",
                    {
                        "201": _text("created; the text tells name and hash"),
                        **_session_errors(400, 403, 404, 409, 501, 502),
                    },
                    body={
                        "required": True,
                        "content": {
                            "application/yaml": {"schema": {"$ref": "#/components/schemas/Session"}},
                            "application/json": {"schema": {"$ref": "#/components/schemas/SignedSession"}},
                        },
                    },
                )
            },
            "/v1/encrypted_sessions": {
                "put": _operation(
                    "createEncryptedSession",
                    "The same, with what `POST /session` takes encrypted to the session encryption key of the evidence "
                    "(docs/sealed-sessions.md).",
                    {"201": _text("created; the text tells name and hash"), **_errors(400, 403, 404, 409, 501, 502)},
                    body=_body("application/json", {"$ref": "#/components/schemas/EncryptedSession"}),
                )
            },
            "/session/{name}": {
                "get": _operation(
                    "readSession",
                    "The newest version of a session, for those who may read it.",
                    {"200": _answer("the session", "application/yaml", {}), **_session_errors(400, 403, 404)},
                    parameters=[_path("name", _NAME)],
                )
            },
            "/v1/sessions/{name}": {
                "get": _operation(
                    "readVersion",
                    "A version of a session: the newest, or the one with that hash.",
                    {"200": _json("the version", "Version"), **_errors(400, 403, 404)},
                    parameters=[
                        _path("name", _NAME),
                        _query("hash", {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}, required=False),
                    ],
                )
            },
            "/v1/sessions": {
                "get": _operation(
                    "listSessions",
                    "The names of the sessions right below a namespace, in order, for those who may list them.",
                    {"200": _json("a page of names", "Names"), **_errors(400, 403, 404)},
                    parameters=[
                        _query("namespace", _NAMESPACE, required=False),
                        _query("after", _NAME, required=False),
                        _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, required=False),
                    ],
                )
            },
            "/v1/session_hashes/{name}": {
                "get": _operation(
                    "readHash",
                    "The hash of the newest version of a session: for those who may read it, with a salt for anyone.",
                    {"200": _json("the hash", "Hash"), **_errors(400, 403, 404)},
                    parameters=[_path("name", _NAME)],
                )
            },
            "/v1/values/{selector}": {
                "get": _operation(
                    "readValues",
                    "Secrets with `export_public`: all of a session, or one.",
                    {"200": _json("the values", "Values"), **_errors(400, 404)},
                    parameters=[
                        _path(
                            "selector",
                            {"type": "string", "pattern": f"^session={_SEGMENT}(?:/{_SEGMENT})*(?:,secret=[^,=/]+)?$"},
                        )
                    ],
                )
            },
            "/v1/shared_secrets": {
                "post": _operation(
                    "readSharedSecret",
                    "A secret for a session of another CAS that this one trusts (docs/cas-sharing.md).",
                    {"200": _json("the secret", "SharedSecret"), **_errors(400, 403, 404)},
                    body=_body(
                        "application/json",
                        _object(session=_NAME, secret={"type": "string"}, importer=_NAME, importer_hash=_HASH),
                    ),
                )
            },
            "/v1/attest": {
                "get": _operation(
                    "attestCas",
                    "The CAS's evidence about itself (docs/cas-attestation.md).",
                    {"200": _json("the evidence", "Evidence"), **_errors(400)},
                    parameters=[
                        _query(
                            "nonce",
                            {"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"},
                            required=True,
                        )
                    ],
                )
            },
            "/v1/version": {
                "get": _operation(
                    "version", "Which CAS this is.", {"200": _json("the version", "CasVersion"), **_errors(400)}
                )
            },
            PATH: {"get": _operation("openapi", "This document.", {"200": _json("it", "Document"), **_errors(400)})},
        },
        {
            "Session": {
                "description": "a description in the session language, as YAML (or JSON, which is YAML)",
                "type": "object",
                "required": ["name", "version"],
                "properties": {"name": {"type": "string"}, "predecessor": {"type": ["string", "null"]}},
            },
            "SignedSession": _object(
                session={"type": "string"},
                signatures={
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 64,
                    "items": _object(signer={"type": "string"}, signature=_BASE64),
                },
            ),
            "EncryptedSession": _object(encrypted_session=_BASE64, encryption_key=_BASE64),
            "Names": _object(
                sessions={"type": "array", "items": {"type": "string"}}, next={"type": ["string", "null"]}
            ),
            "Hash": _object(hash=_HASH),
            "Version": _object(
                session={"type": "string"}, hash=_HASH, predecessor={"anyOf": [_HASH, {"type": "null"}]}
            ),
            "Values": {
                "oneOf": [
                    _object(value={"type": "string"}),
                    _object(
                        values={
                            "type": "object",
                            "additionalProperties": _object(kind={"type": "string"}, value={"type": "string"}),
                        }
                    ),
                ]
            },
            "SharedSecret": _object(
                hash=_HASH,
                kind={"type": "string"},
                content=_BASE64,
                more={"type": "object", "additionalProperties": _BASE64},
            ),
            "Evidence": _object(evidence=_object(body=_BASE64, signature=_BASE64)),
            "CasVersion": _object(version={"type": "string"}, name={"type": "string"}),
            "Document": _described(),
            "Error": _object(error={"type": "string"}, version={"type": "string"}),
        },
    )


def enclave() -> Tree:
    """The document of the enclave port."""
    attest = _object(
        evidence=_object(
            body=_BASE64,
            signature={"type": "string", "contentEncoding": "base64", "minLength": 88, "maxLength": 88},
            countersignatures={"type": "array"},
        )
    )
    return _document(
        "enclave API",
        "What services say before they start (docs/enclave-protocol.md).",
        {
            "/v1/enclave/challenge": {
                "post": _operation(
                    "challenge",
                    "A challenge, good for one attestation within 60 seconds.",
                    {"200": _json("the challenge", "Challenge"), **_errors(400)},
                    body=_body("application/json", _object(protocol={"type": "integer", "const": 1})),
                )
            },
            "/v1/enclave/attest": {
                "post": _operation(
                    "attest",
                    "Evidence for a service; its configuration, sealed to the key in the evidence.",
                    {"200": _json("the configuration", "Sealed"), **_errors(400, 403)},
                    body=_body("application/json", attest),
                )
            },
            "/v1/enclave/tag": {
                "post": _operation(
                    "setTag",
                    "A new tag of a file system that the service keeps, for the one that it replaces.",
                    {"200": _json("the tag is kept", "Said"), **_errors(400, 403, 409)},
                    body=_body("application/json", _said("number, volume, replaces, tag")),
                )
            },
            "/v1/enclave/renew": {
                "post": _operation(
                    "renewLease",
                    "The enclave lives.",
                    {"200": _json("the lease lives on", "Said"), **_errors(400, 403)},
                    body=_body("application/json", _said("number")),
                )
            },
            "/v1/enclave/exit": {
                "post": _operation(
                    "endLease",
                    "The enclave ends.",
                    {"200": _json("the lease has ended", "Said"), **_errors(400, 403)},
                    body=_body("application/json", _said("number, status")),
                )
            },
            PATH: {"get": _operation("openapi", "This document.", {"200": _json("it", "Document"), **_errors(400)})},
        },
        {
            "Said": _object(body=_BASE64, mac=_MAC),
            "Challenge": _object(
                protocol={"const": 1},
                challenge={"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44},
                expires_in={"type": "integer"},
            ),
            "Sealed": _object(sealed=_BASE64),
            "Document": _described(),
            "Error": _object(
                error=_object(
                    code={"type": "string"},
                    message={"type": "string"},
                    found={"type": "string"},
                    required=("code", "message"),
                )
            ),
        },
    )


def _document(title: str, description: str, paths: Tree, schemas: Tree) -> Tree:
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Embedded CAS: {title}", "version": VERSION, "description": description},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(
    name: str,
    summary: str,
    responses: Mapping[str, object],
    *,
    parameters: list[Tree] | None = None,
    body: Tree | None = None,
) -> Tree:
    found: Tree = {"operationId": name, "summary": summary}
    if parameters:
        found["parameters"] = parameters
    if body:
        found["requestBody"] = body
    return found | {"responses": dict(responses)}


def _path(name: str, schema: Tree) -> Tree:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Tree, *, required: bool) -> Tree:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _body(kind: str, schema: Tree) -> Tree:
    return {"required": True, "content": {kind: {"schema": schema}}}


def _object(*, required: tuple[str, ...] | None = None, **properties: object) -> Tree:
    return {
        "type": "object",
        "required": list(properties if required is None else required),
        "properties": properties,
        "additionalProperties": False,
    }


def _said(keys: str) -> Tree:
    """A message under a lease; `keys` are those of the JSON object in its body."""
    body = _BASE64 | {"description": f"a JSON object with the keys {keys}"}
    return _object(lease={"type": "string", "pattern": "^[0-9a-f]{32}$"}, body=body, mac=_MAC)


def _described() -> Tree:
    return {"type": "object", "required": ["openapi", "info", "paths"]}


def _answer(description: str, kind: str, schema: Tree) -> Tree:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _json(description: str, schema: str) -> Tree:
    return _answer(description, "application/json", {"$ref": f"#/components/schemas/{schema}"})


def _text(description: str) -> Tree:
    return _answer(description, "text/plain", {"type": "string"})


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


def _errors(*statuses: int) -> Tree:
    return {str(status): _json(_MEANINGS[status], "Error") | _headers(status) for status in (*statuses, *_ANYWHERE)}


def _session_errors(*statuses: int) -> Tree:
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
