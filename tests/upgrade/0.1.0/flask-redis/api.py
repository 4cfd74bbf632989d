"""An API over TLS that keeps notes in Redis. Every key, certificate and password of it comes from CAS."""

import os
import ssl
from pathlib import Path

import redis
from flask import Flask, Response, request

TLS = Path("/tls")
LONGEST = 4096

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LONGEST
database = redis.Redis(
    host=os.environ["REDIS_HOST"],
    port=int(os.environ["REDIS_PORT"]),
    password=(TLS / "redis.password").read_text(encoding="ascii").strip(),
    ssl=True,
    ssl_ca_certs=str(TLS / "redis-ca.crt"),
    ssl_certfile=str(TLS / "client.crt"),
    ssl_keyfile=str(TLS / "client.key"),
    ssl_check_hostname=True,
    socket_timeout=5,
)


@app.put("/notes/<name>")
def write(name: str) -> Response:
    """Keep a note."""
    database.set(f"note:{name}", request.get_data())
    return Response(status=204)


@app.get("/notes/<name>")
def read(name: str) -> Response:
    """Give a note back."""
    found = database.get(f"note:{name}")
    if found is None:
        return Response("there is no such note\n", status=404, mimetype="text/plain")
    return Response(found, mimetype="text/plain")


@app.errorhandler(redis.RedisError)
def unavailable(_error: redis.RedisError) -> Response:
    """Redis is away: what went wrong is nobody's business, and it comes back."""
    return Response("try again\n", status=503, mimetype="text/plain", headers={"Retry-After": "1"})


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(TLS / "api.crt", TLS / "api.key")
    app.run(host="0.0.0.0", port=int(os.environ["APP_SERVICE_PORT"]), ssl_context=context)  # noqa: S104 - in its pod
