"""The dynamic provider process, as the engine starts it, driven over gRPC without the Pulumi CLI."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

SOURCES = Path(__file__).parents[2]


class ProviderProcess:
    """One `python -m pulumi.dynamic`; methods speak plain dicts."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub, messages: Path) -> None:
        self._stub = stub
        self._messages = messages

    def messages(self) -> str:
        """All that it wrote to standard error: without an engine, warnings too."""
        return self._messages.read_text(encoding="utf-8")

    def configure(self, config: Mapping[str, str]) -> None:
        """Stack config, decrypted, as the engine sends it."""
        self._stub.Configure(provider_pb2.ConfigureRequest(args=_struct(config)))

    def check(self, provider: Any, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> tuple[dict, list]:
        """Checked inputs and the failures' (property, reason)."""
        answer = self._stub.Check(
            provider_pb2.CheckRequest(olds=_struct(olds or {}), news=_struct(_with(provider, news)))
        )
        return _dict(answer.inputs), [(failure.property, failure.reason) for failure in answer.failures]

    def diff(self, provider: Any, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Any:
        """The raw answer."""
        return self._stub.Diff(
            provider_pb2.DiffRequest(id=id_, olds=_struct(_with(provider, olds)), news=_struct(_with(provider, news)))
        )

    def create(self, provider: Any, props: Mapping[str, Any]) -> tuple[str, dict]:
        """Id and outputs."""
        answer = self._stub.Create(provider_pb2.CreateRequest(properties=_struct(_with(provider, props))))
        return answer.id, _dict(answer.properties)

    def update(self, provider: Any, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict:
        """Outputs."""
        answer = self._stub.Update(
            provider_pb2.UpdateRequest(id=id_, olds=_struct(_with(provider, olds)), news=_struct(_with(provider, news)))
        )
        return _dict(answer.properties)

    def read(self, provider: Any, id_: str, props: Mapping[str, Any]) -> tuple[str, dict, dict]:
        """Id, outputs and inputs."""
        answer = self._stub.Read(provider_pb2.ReadRequest(id=id_, properties=_struct(_with(provider, props))))
        return answer.id, _dict(answer.properties), _dict(answer.inputs)

    def delete(self, provider: Any, id_: str, props: Mapping[str, Any]) -> None:
        """Nothing, or an error."""
        self._stub.Delete(provider_pb2.DeleteRequest(id=id_, properties=_struct(_with(provider, props))))


@contextmanager
def started(home: Path) -> Iterator[ProviderProcess]:
    """A running provider process whose home and working folder are `home`."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{SOURCES / 'components'}:{SOURCES / 'provider'}",
    }
    messages = home / "messages.txt"
    with (
        messages.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.dynamic"],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=home,
        ) as process,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield ProviderProcess(provider_pb2_grpc.ResourceProviderStub(channel), messages)
        finally:
            process.kill()


def _with(provider: Any, props: Mapping[str, Any]) -> dict[str, Any]:
    return {**props, "__provider": serialize_provider(provider())}


def _struct(value: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update(value)
    return struct


def _dict(struct: Struct) -> dict[str, Any]:
    found = MessageToDict(struct)
    found.pop("__provider", None)
    return found
