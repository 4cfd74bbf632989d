"""What someone with write access to the registry could do: images changed by one file, byte or layer."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import httpx

_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class Tamperer:
    """Works on one image `host/repository@digest` over plain HTTP."""

    def __init__(self, reference: str) -> None:
        name, _, self.digest = reference.partition("@")
        host, _, self.repository = name.partition("/")
        self._name = name
        self._base = f"http://{host}/v2/{self.repository}"
        self.manifest = self._call("GET", f"/manifests/{self.digest}", headers={"Accept": _TYPES}).json()

    def config(self) -> dict:
        """The image's configuration."""
        return json.loads(self._blob(self.manifest["config"]["digest"]))

    def layer(self, index: int) -> dict[str, bytes]:
        """Path → content of the regular files in one of our (uncompressed) layers."""
        with tarfile.open(fileobj=io.BytesIO(self._blob(self.manifest["layers"][index]["digest"]))) as archive:
            return {
                member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive.getmembers()
                if member.isfile()
            }

    def with_files(self, files: Mapping[str, bytes], *, mode: int = 0o755) -> str:
        """Push a copy with one more layer that replaces or adds files; its reference."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode = len(content), mode
                archive.addfile(member, io.BytesIO(content))

        def add(layers: list, diffs: list) -> None:
            layers.append(self._upload(buffer.getvalue()))
            diffs.append(None)

        return self._push(add)

    def _push(self, change: Callable[[list, list], object]) -> str:
        config, layers = self.config(), [dict(layer) for layer in self.manifest["layers"]]
        diffs = config["rootfs"]["diff_ids"]
        change(layers, diffs)
        config["rootfs"]["diff_ids"] = [
            layers[number]["digest"] if diff is None else diff for number, diff in enumerate(diffs)
        ]
        described = self._upload(json.dumps(config).encode())
        manifest = {
            **self.manifest,
            "layers": layers,
            "config": {**self.manifest["config"], "digest": described["digest"], "size": described["size"]},
        }
        data = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        headers = {"Content-Type": manifest["mediaType"]}
        self._call("PUT", f"/manifests/{digest}", content=data, headers=headers)
        return f"{self._name}@{digest}"

    def _blob(self, digest: str) -> bytes:
        return self._call("GET", f"/blobs/{digest}").content

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = path if path.startswith("http") else self._base + path
        return httpx.request(method, url, timeout=30, **options).raise_for_status()

    def _upload(self, data: bytes) -> dict:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = self._call("POST", "/blobs/uploads/")
        location = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest})
        self._call("PUT", str(location), content=data, headers={"Content-Type": "application/octet-stream"})
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(data)}
