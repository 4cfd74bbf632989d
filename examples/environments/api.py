"""Answers every request with what its environment gave it; of the token it shows a checksum only."""

import hashlib
import http.server
import json
import os
import signal
import sys
from types import FrameType

ANSWER = {
    "stage": os.environ["STAGE"],
    "greeting": os.environ["GREETING"],
    "token_checksum": hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest(),
}


class Api(http.server.BaseHTTPRequestHandler):
    """`GET` anything: the answer as JSON."""

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End at once: nothing here needs to be finished."""
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print(json.dumps(ANSWER), flush=True)
http.server.HTTPServer(("", 8080), Api).serve_forever()
