"""The OpenAPI document of the client port, as data beside the handlers that it describes."""

from scone_cas.api.openapi.builders import (
    BASE64,
    HASH,
    NAME,
    NAMESPACE,
    PATH,
    SEGMENT,
    Tree,
    answer,
    body_of,
    document,
    document_schema,
    errors,
    json_answer,
    json_object,
    operation,
    path_parameter,
    query_parameter,
    session_errors,
    text_answer,
)


def client() -> Tree:
    """The document of the client port."""
    return document(
        "client API",
        "Sessions. A TLS client certificate of any make identifies the caller by its key. "
        "Names may hold `/`, as they are or percent-encoded.",
        {**_uploads(), **_sessions(), **_values(), **_about()},
        {**_session_schemas(), **_other_schemas()},
    )


def _uploads() -> Tree:
    """Routes that take sessions."""
    return {
        "/session": {
            "post": operation(
                "createSession",
                "Create a session, or replace the version that `predecessor` names.",
                {
                    "201": text_answer("created; the text tells name and hash"),
                    **session_errors(400, 403, 404, 409, 501, 502),
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
            "put": operation(
                "createEncryptedSession",
                "The same, with what `POST /session` takes encrypted to the session encryption key of the evidence "
                "(docs/sealed-sessions.md).",
                {"201": text_answer("created; the text tells name and hash"), **errors(400, 403, 404, 409, 501, 502)},
                body=body_of("application/json", {"$ref": "#/components/schemas/EncryptedSession"}),
            )
        },
    }


def _sessions() -> Tree:
    """Routes that give sessions, their names and hashes."""
    return {
        "/session/{name}": {
            "get": operation(
                "readSession",
                "The newest version of a session, for those who may read it.",
                {"200": answer("the session", "application/yaml", {}), **session_errors(400, 403, 404)},
                parameters=[path_parameter("name", NAME)],
            )
        },
        "/v1/sessions/{name}": {
            "get": operation(
                "readVersion",
                "A version of a session: the newest, or the one with that hash.",
                {"200": json_answer("the version", "Version"), **errors(400, 403, 404)},
                parameters=[
                    path_parameter("name", NAME),
                    query_parameter("hash", {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}, required=False),
                ],
            )
        },
        "/v1/sessions": {
            "get": operation(
                "listSessions",
                "The names of the sessions right below a namespace, in order, for those who may list them.",
                {"200": json_answer("a page of names", "Names"), **errors(400, 403, 404)},
                parameters=[
                    query_parameter("namespace", NAMESPACE, required=False),
                    query_parameter("after", NAME, required=False),
                    query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, required=False),
                ],
            )
        },
        "/v1/session_hashes/{name}": {
            "get": operation(
                "readHash",
                "The hash of the newest version of a session: for those who may read it, with a salt for anyone.",
                {"200": json_answer("the hash", "Hash"), **errors(400, 403, 404)},
                parameters=[path_parameter("name", NAME)],
            )
        },
    }


def _values() -> Tree:
    """Routes that give secrets."""
    return {
        "/v1/values/{selector}": {
            "get": operation(
                "readValues",
                "Secrets with `export_public`: all of a session, or one.",
                {"200": json_answer("the values", "Values"), **errors(400, 404)},
                parameters=[
                    path_parameter(
                        "selector",
                        {"type": "string", "pattern": f"^session={SEGMENT}(?:/{SEGMENT})*(?:,secret=[^,=/]+)?$"},
                    )
                ],
            )
        },
        "/v1/shared_secrets": {
            "post": operation(
                "readSharedSecret",
                "A secret for a session of another CAS that this one trusts (docs/cas-sharing.md).",
                {"200": json_answer("the secret", "SharedSecret"), **errors(400, 403, 404)},
                body=body_of(
                    "application/json",
                    json_object(session=NAME, secret={"type": "string"}, importer=NAME, importer_hash=HASH),
                ),
            )
        },
    }


def _about() -> Tree:
    """Routes about the CAS itself."""
    return {
        "/v1/attest": {
            "get": operation(
                "attestCas",
                "The CAS's evidence about itself (docs/cas-attestation.md).",
                {"200": json_answer("the evidence", "Evidence"), **errors(400)},
                parameters=[
                    query_parameter(
                        "nonce",
                        {"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"},
                        required=True,
                    )
                ],
            )
        },
        "/v1/version": {
            "get": operation(
                "version", "Which CAS this is.", {"200": json_answer("the version", "CasVersion"), **errors(400)}
            )
        },
        PATH: {"get": operation("openapi", "This document.", {"200": json_answer("it", "Document"), **errors(400)})},
    }


def _session_schemas() -> Tree:
    """Schemas of what the routes of sessions take and give."""
    return {
        "Session": {
            "description": "a description in the session language, as YAML (or JSON, which is YAML)",
            "type": "object",
            "required": ["name", "version"],
            "properties": {"name": {"type": "string"}, "predecessor": {"type": ["string", "null"]}},
        },
        "SignedSession": json_object(
            session={"type": "string"},
            signatures={
                "type": "array",
                "minItems": 1,
                "maxItems": 64,
                "items": json_object(signer={"type": "string"}, signature=BASE64),
            },
        ),
        "EncryptedSession": json_object(encrypted_session=BASE64, encryption_key=BASE64),
        "Names": json_object(
            sessions={"type": "array", "items": {"type": "string"}}, next={"type": ["string", "null"]}
        ),
        "Hash": json_object(hash=HASH),
        "Version": json_object(session={"type": "string"}, hash=HASH, predecessor={"anyOf": [HASH, {"type": "null"}]}),
    }


def _other_schemas() -> Tree:
    """Schemas of all else."""
    return {
        "Values": {
            "oneOf": [
                json_object(value={"type": "string"}),
                json_object(
                    values={
                        "type": "object",
                        "additionalProperties": json_object(kind={"type": "string"}, value={"type": "string"}),
                    }
                ),
            ]
        },
        "SharedSecret": json_object(
            hash=HASH,
            kind={"type": "string"},
            content=BASE64,
            more={"type": "object", "additionalProperties": BASE64},
        ),
        "Evidence": json_object(evidence=json_object(body=BASE64, signature=BASE64)),
        "CasVersion": json_object(version={"type": "string"}, name={"type": "string"}),
        "Document": document_schema(),
        "Error": json_object(error={"type": "string"}, version={"type": "string"}),
    }
