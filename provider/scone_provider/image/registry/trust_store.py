"""By which certificate authorities registries are trusted: Python's default, and bundles that the environment names.

`requests` alone would trust the list that `certifi` brings and nothing else: a company's own authority in the system's
store would be unknown.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi

from scone_provider.errors import ImageError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
DEFAULTS = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trust_store(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """The system's store (or SSL_CERT_FILE and SSL_CERT_DIR in its place), and what BUNDLES name besides.

    A Python without a store of the system gets certifi's list. Raises ImageError for a bundle that cannot be used.
    """
    context = ssl.create_default_context()
    defaults = ssl.get_default_verify_paths()
    if not (defaults.cafile or defaults.capath) and not any(environ.get(name) for name in DEFAULTS):
        context.load_verify_locations(certifi.where())
    for name in DEFAULTS:
        path = environ.get(name)
        if path and not all(Path(one).exists() for one in path.split(os.pathsep) if one):
            raise _unusable(name, path)  # OpenSSL passes over it without a word
    for name in BUNDLES:
        path = environ.get(name)
        if not path:
            continue
        try:
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except (OSError, ValueError):
            raise _unusable(name, path) from None
    return context


def _unusable(name: str, path: str) -> ImageError:
    return ImageError(
        "this is no readable file of certificates in PEM, and no folder of them",
        where=f"${name}: {path}",
        fix=f"correct {name}, or unset it: then the system's trust store counts",
    )
