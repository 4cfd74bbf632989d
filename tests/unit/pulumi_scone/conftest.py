"""Runs a program against Pulumi's own mocks: no engine and no provider; what it registers is recorded as sent."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs
from pulumi.runtime.proto.resource_pb2 import ResourceInvokeResponse
from pulumi.runtime.rpc import is_rpc_secret, wrap_rpc_secret

DYNAMIC = "pulumi-python:dynamic/scone:"
RELEASE = "kubernetes:helm.sh/v3:Release"
KEY = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
ATTESTED = {"attested_key": KEY}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "SignedManifest": {"signatures": {"0": {"signer": "PEM", "signature": "c2ln"}}},
    "EncryptedManifest": {"encryption_key": "a2V5"},
    "EncryptedOnly": {"encryption_key": "a2V5"},
    "NoUpload": {},
}
FACTS = {"reference": "r/api@sha256:" + "ab" * 32, "measurement": "cd" * 32, "fspf_tag": "ef" * 16}


@dataclass(frozen=True)
class Registered:
    """One resource as the program registered it. `inputs` are as on the wire: secrets wrapped, unknowns as tokens."""

    type: str
    name: str
    parent: str
    after: frozenset[str]
    """Names of what it waits for, as `type::name`."""
    inputs: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Result:
    """What a program did."""

    resources: list[Registered]
    warnings: list[str]

    def only(self, kind: str, name: str | None = None) -> Registered:
        """The one resource of a type (its last part), and of a name where there are several."""
        (found,) = [r for r in self.resources if r.type.endswith(kind) and name in {None, r.name}]
        return found


Run = Callable[..., Result]


class _Providers(pulumi.runtime.Mocks):
    """Answers as the engine does: the inputs, and what `check` computes."""

    def __init__(
        self,
        facts: Mapping[str, str],
        computed: Mapping[str, Mapping[str, Any]],
        attested: Mapping[str, str],
        revision: str,
    ) -> None:
        self._facts, self._computed, self._attested, self._revision = facts, computed, attested, revision

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict]:
        computed: dict[str, Any] = dict(self._computed.get(args.typ, {}))
        if args.typ == DYNAMIC + "ConfidentialImage":
            computed = dict(self._facts)
        elif args.typ == DYNAMIC + "Cas":
            computed = dict(self._attested)
        elif args.typ in (DYNAMIC + "SecurityPolicy", DYNAMIC + "SealedPolicy"):
            policy = args.inputs["policy"]
            policy = policy["value"] if is_rpc_secret(policy) else policy
            computed = {"name": policy["name"], "digest": f"digest of {args.name}"}
            if args.inputs.get("overlap"):
                computed |= {"revision": self._revision, "hash": "ef" * 32, "attested_key": KEY}
            if "mode" in args.inputs:
                text: Any = f"text of {args.name}"
                text = text if args.inputs["mode"].startswith("Encrypted") else wrap_rpc_secret(text)
                computed["document"] = {"policy": text, **DOCUMENTS[args.inputs["mode"]]}
        return f"id of {args.name}", {**args.inputs, **computed}

    def call(self, args: object) -> tuple[dict, None]:
        raise AssertionError(f"the program calls {args}")


class _Monitor(MockMonitor):
    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.registered: list[Registered] = []
        self._sent: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  the protocol's name
        if request.type != "pulumi:pulumi:Stack":
            inputs = MessageToDict(request.object)
            inputs.pop("__provider", None)
            self.registered.append(
                Registered(
                    type=request.type,
                    name=request.name,
                    parent=_short(request.parent),
                    after=frozenset(_short(urn) for urn in request.dependencies),
                    inputs=inputs,
                )
            )
        answer = super().RegisterResource(request)
        self._sent[answer.urn] = request.object
        return answer

    def Invoke(self, request: Any) -> Any:  # noqa: N802  the protocol's name
        if request.tok != "pulumi:pulumi:getResource":
            return super().Invoke(request)
        # As sent: the mocks read values in a thread that may not know that this is a preview, and drop unknown ones.
        answer = ResourceInvokeResponse()
        found = getattr(answer, "return")
        found.get_or_create_struct("state").CopyFrom(self._sent[request.args["urn"]])
        return answer


def _short(urn: str) -> str:
    """`type::name` of a URN; the stack is nothing."""
    if not urn or "pulumi:pulumi:Stack" in urn.split("::")[-2].rsplit("$", maxsplit=1)[-1]:
        return ""
    kind, name = urn.split("::")[-2:]
    return f"{kind.split('$')[-1]}::{name}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a program in a project folder of the test's own (`tmp_path`)."""
    monkeypatch.chdir(tmp_path)

    def run(
        program: Callable[[], object],
        *,
        preview: bool = False,
        config: Mapping[str, str] | None = None,
        facts: Mapping[str, str] = FACTS,
        attested: Mapping[str, str] = ATTESTED,
        native: Mapping[str, str] | None = None,
        computed: Mapping[str, Mapping[str, Any]] | None = None,
        revision: str = "",
    ) -> Result:
        warnings: list[str] = []
        logger = logging.Logger("engine")  # noqa: LOG001  of this run alone
        logger.addHandler(_Listener(warnings))
        others = {"docker-build:index:Image": native or {}, RELEASE: {"status": {"revision": 1}}, **(computed or {})}
        monitor = _Monitor(_Providers(facts, others, attested, revision))
        pulumi.runtime.set_mocks(monitor.mocks, preview=preview, monitor=monitor, logger=logger)
        pulumi.runtime.set_all_config(dict(config or {}))
        pulumi.runtime.test(program)()
        return Result(monitor.registered, warnings)

    return run


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())
