"""Proxies on the way to a cluster: which ones its client can use, and what to do about the others."""

from scone_provider.errors import DeployError


def without_socks(where: str) -> DeployError:
    """What it means that the client misses a library: environment or kubeconfig (`proxy-url`) name a SOCKS proxy.

    `where`: what names the cluster. The proxy's address may hold a password and is not told.
    """
    return DeployError(
        "the way to the cluster leads through a SOCKS proxy, which needs a library that is not installed",
        where=where,
        fix="pip install 'requests[socks]', or name an HTTP proxy in HTTPS_PROXY, or the cluster in NO_PROXY",
    )
