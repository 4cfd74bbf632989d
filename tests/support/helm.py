"""Helm as Pulumi's Kubernetes provider has it built in, driven over gRPC: what a chart becomes, without a cluster."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from tools.devstack.paths import Paths
from tools.devstack.plugins import KUBERNETES

_LARGEST = 64 << 20


class HelmError(Exception):
    """Helm, or the provider's YAML, does not take it."""


class Helm:
    """`render` is all of it."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub) -> None:
        self._stub = stub

    def render(self, chart: Path, values: Mapping[str, Any], *, release: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of a chart, as the provider reads what Helm wrote. Raises HelmError."""
        options = {
            "chart": chart.name,
            "path": str(chart.parent),
            "release_name": release,
            "namespace": namespace,
            "values": values,
            "include_test_hook_resources": True,
            "kube_version": "1.33",
        }
        arguments = Struct()
        arguments.update({"jsonOpts": json.dumps(options)})
        request = provider_pb2.InvokeRequest(tok="kubernetes:helm:template", args=arguments)
        try:
            answer = self._stub.Invoke(request)
        except grpc.RpcError as problem:
            raise HelmError(problem.details()) from None
        found: list[dict[str, Any]] = MessageToDict(answer)["return"].get("result", [])
        return found


@contextmanager
def started(home: Path) -> Iterator[Helm]:
    """The provider's process, with no cluster that it could speak to."""
    folder = Paths.of().pulumi_home / "plugins" / f"resource-{KUBERNETES.name}-v{KUBERNETES.version}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "none")}
    with subprocess.Popen([folder / KUBERNETES.program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        limits = [("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)]
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=limits) as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                settings = Struct()
                settings.update({"renderYamlToDirectory": str(home / "rendered")})
                stub.Configure(provider_pb2.ConfigureRequest(args=settings, acceptSecrets=True))
                yield Helm(stub)
        finally:
            process.kill()
