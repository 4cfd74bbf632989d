"""A small real HTTP server that answers as a Kubernetes API does for Helm's records, and kubeconfigs for it."""

import base64
import gzip
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml


class KubernetesApi:
    """Lists `secrets` (of any namespace), removes them, or refuses everything with `status`."""

    def __init__(self) -> None:
        self.secrets: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[str] = []
        """`METHOD path?query`, in order."""
        self.authorization: list[str | None] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._noted("GET")
                items = api.secrets
                for label in parse_qs(urlsplit(self.path).query).get("labelSelector", [""])[0].split(","):
                    name, _, value = label.partition("=")
                    items = [item for item in items if not name or item["metadata"]["labels"].get(name) == value]
                self._answer({"kind": "SecretList", "metadata": {}, "items": items})

            def do_DELETE(self) -> None:
                self._noted("DELETE")
                name = urlsplit(self.path).path.rpartition("/")[2]
                api.secrets = [item for item in api.secrets if item["metadata"]["name"] != name]
                self._answer({"kind": "Status", "status": "Success"})

            def _noted(self, method: str) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                api.asked.append(f"{method} {self.path}")
                api.authorization.append(self.headers.get("Authorization"))

            def _answer(self, content: Mapping[str, Any]) -> None:
                refusal = {"kind": "Status", "status": "Failure", "code": api.status}
                body = json.dumps(content if api.status == 200 else refusal).encode()
                self.send_response(api.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def record(
        self,
        *,
        number: int = 1,
        status: str = "deployed",
        values: Mapping[str, Any] | None = None,
        chart: str = "scone-mesh",
        release: str = "app",
    ) -> None:
        """Add a revision of a release, as Helm notes it."""
        content = {"chart": {"metadata": {"name": chart}}, "config": values, "info": {"status": status}}
        text = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
        labels = {"owner": "helm", "name": release, "status": status, "version": str(number)}
        name = f"sh.helm.release.v1.{release}.v{number}"
        metadata = {"name": name, "namespace": "apps", "labels": labels, "uid": f"u{number}", "resourceVersion": "7"}
        self.secrets.append({"metadata": metadata, "type": "helm.sh/release.v1", "data": {"release": text}})

    @property
    def numbers(self) -> list[int]:
        """Revisions that are there."""
        return [int(item["metadata"]["labels"]["version"]) for item in self.secrets]


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """A server for the length of a test."""
    api = KubernetesApi()
    try:
        yield api
    finally:
        api.stop()


def kubeconfig(servers: Mapping[str, str], *, user: Mapping[str, Any] | None = None, current: str = "") -> str:
    """The text of a kubeconfig: a context and a cluster for each server; `current`: a context, else the first."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current or next(iter(servers)),
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
        "users": [{"name": "me", "user": dict(user or {})}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in servers],
    }
    return yaml.safe_dump(content)
