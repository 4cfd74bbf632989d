"""Greets whoever asks, with a proof that the greeting comes from here."""

import hmac
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = os.environ["GREETING_KEY"].encode()


class Greeter(BaseHTTPRequestHandler):
    """What is asked over HTTP."""

    def do_GET(self) -> None:
        """`/name`: a greeting, and its authentication code under the key that CAS delivered."""
        greeting = f"hello {self.path[1:]}, from a wrapped image"
        code = hmac.new(KEY, greeting.encode(), "sha256").hexdigest()
        body = f"{greeting}\n{code}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("greeting on port 8080", flush=True)
ThreadingHTTPServer(("", 8080), Greeter).serve_forever()
