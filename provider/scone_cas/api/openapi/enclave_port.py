"""The OpenAPI document of the enclave port, as data beside the handlers that it describes."""

from scone_cas.api.openapi.builders import (
    BASE64,
    MAC,
    PATH,
    Tree,
    body_of,
    document,
    document_schema,
    errors,
    json_answer,
    json_object,
    lease_message,
    operation,
)

_ATTEST: Tree = json_object(
    evidence=json_object(
        body=BASE64,
        signature={"type": "string", "contentEncoding": "base64", "minLength": 88, "maxLength": 88},
        countersignatures={"type": "array"},
    )
)


def enclave() -> Tree:
    """The document of the enclave port."""
    return document(
        "enclave API",
        "What services say before they start (docs/enclave-protocol.md).",
        {**_start(), **_lease(), **_about()},
        _schemas(),
    )


def _start() -> Tree:
    """Routes of an enclave that starts."""
    return {
        "/v1/enclave/challenge": {
            "post": operation(
                "challenge",
                "A challenge, good for one attestation within 60 seconds.",
                {"200": json_answer("the challenge", "Challenge"), **errors(400)},
                body=body_of("application/json", json_object(protocol={"type": "integer", "const": 1})),
            )
        },
        "/v1/enclave/attest": {
            "post": operation(
                "attest",
                "Evidence for a service; its configuration, sealed to the key in the evidence.",
                {"200": json_answer("the configuration", "Sealed"), **errors(400, 403)},
                body=body_of("application/json", _ATTEST),
            )
        },
    }


def _lease() -> Tree:
    """Routes of an enclave that runs."""
    return {
        "/v1/enclave/tag": {
            "post": operation(
                "setTag",
                "A new tag of a file system that the service keeps, for the one that it replaces.",
                {"200": json_answer("the tag is kept", "Said"), **errors(400, 403, 409)},
                body=body_of("application/json", lease_message("number, volume, replaces, tag")),
            )
        },
        "/v1/enclave/renew": {
            "post": operation(
                "renewLease",
                "The enclave lives.",
                {"200": json_answer("the lease lives on", "Said"), **errors(400, 403)},
                body=body_of("application/json", lease_message("number")),
            )
        },
        "/v1/enclave/exit": {
            "post": operation(
                "endLease",
                "The enclave ends.",
                {"200": json_answer("the lease has ended", "Said"), **errors(400, 403)},
                body=body_of("application/json", lease_message("number, status")),
            )
        },
    }


def _about() -> Tree:
    """The route of this document."""
    return {
        PATH: {"get": operation("openapi", "This document.", {"200": json_answer("it", "Document"), **errors(400)})},
    }


def _schemas() -> Tree:
    """Schemas of all answers."""
    return {
        "Said": json_object(body=BASE64, mac=MAC),
        "Challenge": json_object(
            protocol={"const": 1},
            challenge={"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44},
            expires_in={"type": "integer"},
        ),
        "Sealed": json_object(sealed=BASE64),
        "Document": document_schema(),
        "Error": json_object(
            error=json_object(
                code={"type": "string"},
                message={"type": "string"},
                found={"type": "string"},
                required=("code", "message"),
            )
        ),
    }
