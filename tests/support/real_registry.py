"""A real registry (Debian's docker-registry) on a port of its own, and an HTTP server that lies."""

import gzip
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

_CONFIGURATION = """version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: {delete}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


class RealRegistry:
    """One docker-registry process. It can be killed and started again on the same port, with what it had stored."""

    def __init__(self, folder: Path, *, delete: bool = True, auth: str = "") -> None:
        self._folder, self._delete, self._auth = folder, delete, auth
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        folder.mkdir(exist_ok=True)
        self.start()

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it when it does not run, and returns when it listens."""
        if self._process is not None:
            return
        configuration = self._folder / "config.yml"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder, delete=str(self._delete).lower(), port=self._port, auth=self._auth
            )
        )
        program = shutil.which("docker-registry")
        assert program, "docker-registry is missing: make test installs it"
        self._process = subprocess.Popen(
            [program, "serve", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert self._process.stderr
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "listening on 127.0.0.1:" in line:
                self._port = int(line.split("listening on 127.0.0.1:")[1].split('"')[0])
                break
        else:
            raise AssertionError(f"docker-registry did not start: {''.join(said)}")
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()

    def kill(self) -> None:
        """Stops it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._drain.join()
            assert self._process.stderr
            self._process.stderr.close()
            self._process = None

    def blob(self, digest: str) -> Path:
        """Where it keeps a blob."""
        name = digest.removeprefix("sha256:")
        return self._folder / "data/docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def blobs(self) -> bytes:
        """Every byte that it stores, and what compressed ones unpack to."""
        stored = [path.read_bytes() for path in sorted(self._folder.rglob("data")) if path.is_file()]
        return b"".join(stored + [gzip.decompress(data) for data in stored if data.startswith(b"\x1f\x8b")])


class Liar:
    """An HTTP server that answers as the test says: (method, path) to status, headers and body."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                path = self.path.partition("?")[0]
                liar.requests.append((self.command, path, self.headers.get("Authorization")))
                status, headers, body = liar.answers.get((self.command, path), (404, {}, b""))
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                if int(headers.get("Content-Length", len(body))) != len(body):
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  names of the standard library

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
