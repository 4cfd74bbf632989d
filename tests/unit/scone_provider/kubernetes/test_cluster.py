"""Which cluster is asked, and what is said when that does not work: real HTTP servers, real kubeconfigs."""

import json
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config.kube_config
import pytest
import yaml

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import IN_PREVIEW, TROUBLE, Cluster, connect, explained
from support.kubernetes_api import KubernetesApi, kubeconfig, kubernetes_api

TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """An API server."""
    with kubernetes_api() as found:
        yield found


@pytest.fixture
def ambient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the kubeconfig that is used where nothing says which."""

    def write(text: str) -> None:
        path = tmp_path / "ambient"
        path.write_text(text)
        # The client reads KUBECONFIG once, when it is imported.
        monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))

    return write


def ask(cluster: Cluster) -> None:
    """One request."""
    kubernetes.client.CoreV1Api(connect(cluster)).list_namespaced_secret("apps", **IN_PREVIEW)


def refusal(cluster: Cluster) -> str:
    """What is said to a cluster that cannot be connected to; nothing secret is in it."""
    with pytest.raises(DeployError) as caught:
        connect(cluster)
    assert TOKEN not in f"{caught.value}{caught.value.__context__ or ''}" or caught.value.__suppress_context__
    assert TOKEN not in str(caught.value)
    assert "→" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["text", "json", "path", "home"])
def test_given_kubeconfig_wins(
    api: KubernetesApi,
    ambient: Callable[[str], None],
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As text in YAML or JSON, as a path, below the home folder: never the ambient cluster."""
    ambient(kubeconfig({"wrong": "http://127.0.0.1:1"}))
    text = kubeconfig({"one": api.url}, user={"token": TOKEN})
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "given").write_text(text)
    given = {
        "text": text,
        "json": json.dumps(yaml.safe_load(text)),
        "path": str(tmp_path / "given"),
        "home": "~/given",
    }[form]
    ask(Cluster(kubeconfig=given))
    assert api.authorization == [f"Bearer {TOKEN}"]
    assert TOKEN not in repr(Cluster(kubeconfig=given))


@pytest.mark.parametrize(
    "named", [{"context": "right"}, {"cluster": "right"}, {"context": "wrong", "cluster": "right"}]
)
@pytest.mark.parametrize("is_given", [True, False])
def test_context_and_cluster_choose(
    api: KubernetesApi, ambient: Callable[[str], None], *, named: dict[str, str], is_given: bool
) -> None:
    """In a given kubeconfig and in the ambient one; the cluster stands in the place of the context's."""
    text = kubeconfig({"wrong": "http://127.0.0.1:1", "right": api.url})
    ambient(text)
    ask(Cluster(kubeconfig=text if is_given else None, **named))
    assert len(api.asked) == 1


def test_several_ambient_files(api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBECONFIG may name several files: together they are one."""
    for name, server in (("a", "http://127.0.0.1:1"), ("b", api.url)):
        (tmp_path / name).write_text(kubeconfig({name: server}))
    monkeypatch.setattr(
        kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", f"{tmp_path / 'a'}:{tmp_path / 'b'}"
    )
    ask(Cluster(cluster="b"))
    ask(Cluster(context="b"))
    assert len(api.asked) == 2


def test_credentials_of_a_program(api: KubernetesApi, tmp_path: Path) -> None:
    """Clouds' kubeconfigs name a program that gives a token."""
    program = tmp_path / "credentials"
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": TOKEN}}
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    about = {"exec": {"apiVersion": answer["apiVersion"], "command": str(program)}}
    ask(Cluster(kubeconfig=kubeconfig({"one": api.url}, user=about)))
    assert api.authorization == [f"Bearer {TOKEN}"]
    program.write_text("#!/bin/sh\nexit 3\n")
    text = refusal(Cluster(kubeconfig=kubeconfig({"one": api.url}, user=about)))
    assert f"kubernetes.Provider: the program {program}, which the kubeconfig names, gave no credentials" in text
    assert "log in again" in text


@pytest.mark.parametrize("command", ["no-such-program", "./no-such-program", "/nowhere/no-such-program"])
def test_program_that_is_not_installed(command: str) -> None:
    """The plug-in of a cloud is missing: it is named."""
    about = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command}}
    text = refusal(Cluster(kubeconfig=kubeconfig({"one": "http://127.0.0.1:1"}, user=about)))
    assert f"from the program {command}, which is not installed here" in text


@pytest.mark.parametrize(
    "given",
    [
        {"kubeconfig": "[]"},
        {"kubeconfig": "["},
        {"kubeconfig": "no/such/path"},
        {"kubeconfig": "kind: Config\n"},
        {"kubeconfig": f"users: {TOKEN}\n"},
        {"kubeconfig": f"contexts: [{TOKEN}\n"},
        {"kubeconfig": "a" * 5000},
        {"kubeconfig": "\0"},
        {"kubeconfig": kubeconfig({"one": "http://127.0.0.1:1"}), "context": "two"},
        {"kubeconfig": kubeconfig({"one": "http://127.0.0.1:1"}), "cluster": "two"},
        {"kubeconfig": kubeconfig({"one": "http://127.0.0.1:1"}, user={"tokenFile": "/nowhere"})},
    ],
)
def test_kubeconfig_of_no_use(given: dict[str, str]) -> None:
    """Broken, empty, or without the context or cluster that is named: said in words, its content never."""
    text = refusal(Cluster(**given))
    assert text.startswith("kubernetes.Provider: there is no usable kubeconfig to reach the cluster with")
    for kind in ("context", "cluster"):
        assert kind not in given or f", {kind} two" in text


def test_a_pod_is_its_service_account(
    ambient: Callable[[str], None], api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kubeconfig, in a pod: the error is about the service account's files, and a kubeconfig comes first."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(kubernetes.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(kubernetes.config.incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca"))
    monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca").write_text("ca")
    client = connect(Cluster())
    assert client.configuration.host == "https://127.0.0.1:1"
    assert client.configuration.ssl_ca_cert == str(tmp_path / "ca")
    ambient(kubeconfig({"one": api.url}))
    ask(Cluster())
    assert len(api.asked) == 1


def said(cluster: Cluster) -> str:
    """What a request's failure is explained as."""
    with pytest.raises(TROUBLE) as caught:
        ask(cluster)
    return str(explained(caught.value, doing="list the pods", needs="list pods", where="namespace apps"))


def test_refusals_in_words(api: KubernetesApi) -> None:
    """Expired credentials are not a missing right."""
    cluster = Cluster(kubeconfig=kubeconfig({"one": api.url}))
    api.status = 401
    assert "does not take these credentials (401); they may have expired" in said(cluster)
    assert "log in to the cluster again" in said(cluster)
    api.status = 403
    assert "namespace apps: Kubernetes refused to list the pods: Forbidden" in said(cluster)
    assert "the right to list pods" in said(cluster)


def test_unreachable_in_words(api: KubernetesApi) -> None:
    """Nobody listens; no such name; no proxy; no TLS: without the client's words."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"http://127.0.0.1:{server.getsockname()[1]}"
    for url in (dead, "http://no-such-host.invalid"):
        text = said(Cluster(kubeconfig=kubeconfig({"one": url})))
        assert text.startswith("namespace apps: Kubernetes cannot be reached\n"), text
    content: dict[str, Any] = yaml.safe_load(kubeconfig({"one": api.url}))
    content["clusters"][0]["cluster"]["proxy-url"] = dead
    assert "cannot be reached (the proxy does not answer)" in said(Cluster(kubeconfig=yaml.safe_dump(content)))
    assert "certificate of the Kubernetes API is not trusted" in said(
        Cluster(kubeconfig=kubeconfig({"one": api.url.replace("http", "https")}))
    )
