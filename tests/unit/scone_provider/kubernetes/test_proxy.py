"""A SOCKS proxy on the way to the cluster, where the library for it is missing, is said in words."""

import sys
from pathlib import Path

import pytest
import yaml

from scone_provider.errors import DeployError
from scone_provider.kubernetes.cluster import Cluster, connect


def write_kubeconfig(path: Path, **cluster: str) -> None:
    """A kubeconfig of one cluster."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "one", "cluster": {"server": "http://cluster.test:6443", **cluster}}],
        "users": [{"name": "one", "user": {}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    }
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("place", ["kubeconfig", "environment"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_socks_without_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, scheme: str) -> None:
    """Named by the kubeconfig or by the environment: which library is missing, and the other ways; no password."""
    proxy = f"{scheme}://user:planted-51@127.0.0.1:9"
    write_kubeconfig(tmp_path / "config", **({"proxy-url": proxy} if place == "kubeconfig" else {}))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if place == "environment":
        monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)  # as where it is not installed
    with pytest.raises(DeployError) as refusal:
        connect(Cluster())
    assert "SOCKS proxy" in str(refusal.value)
    assert "pip install 'requests[socks]'" in str(refusal.value)
    assert "planted" not in str(refusal.value)
