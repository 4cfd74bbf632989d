"""Where a CAS gets tokens of Microsoft Entra from: an option of `cas serve`, kept in the state for its processes."""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

from scone_policy.errors import SconeError

DEFAULT_AUTHORITY = "https://login.microsoftonline.com"
DEFAULT_SCOPE = "https://vault.azure.net/.default"
"""What the language's tokens are for: Azure Key Vault (secret_config, import_akv)."""

_URL = re.compile(r"https://[A-Za-z0-9.\-]+(:[0-9]{1,5})?/?")


@dataclass(frozen=True, kw_only=True)
class EntraSettings:
    """The authority's address and, where its certificate is not a public one, the CAs (PEM) that vouch for it."""

    authority: str = DEFAULT_AUTHORITY
    ca_file: Path | None = None
    scope: str = DEFAULT_SCOPE

    @classmethod
    def parse(cls, options: argparse.Namespace) -> "EntraSettings":
        """From the options that `add_entra_options` added. Raises SconeError."""
        if not _URL.fullmatch(options.entra_authority):
            raise SconeError(
                "--entra-authority must be https://HOST or https://HOST:PORT", fix=f"for instance {DEFAULT_AUTHORITY}"
            )
        ca_file = options.entra_ca.absolute() if options.entra_ca is not None else None
        if ca_file is not None and not ca_file.is_file():
            raise SconeError("the file that --entra-ca names is not there", where=str(ca_file))
        return cls(authority=options.entra_authority.rstrip("/"), ca_file=ca_file, scope=options.entra_scope)

    def to_json(self) -> bytes:
        """For the store."""
        ca_file = str(self.ca_file) if self.ca_file is not None else None
        return json.dumps({"authority": self.authority, "ca_file": ca_file, "scope": self.scope}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "EntraSettings":
        """As they were kept."""
        found = json.loads(text)
        ca_file = Path(found["ca_file"]) if found["ca_file"] else None
        return cls(authority=found["authority"], ca_file=ca_file, scope=found["scope"])


def add_entra_options(parser: argparse.ArgumentParser) -> None:
    """The options of `cas serve` about aad-token secrets."""
    parser.add_argument(
        "--entra-authority", metavar="URL", default=DEFAULT_AUTHORITY, help="gives aad-tokens (default: %(default)s)"
    )
    parser.add_argument(
        "--entra-ca", metavar="FILE", type=Path, help="CAs (PEM) of the authority; default: the system's"
    )
    parser.add_argument(
        "--entra-scope", metavar="SCOPE", default=DEFAULT_SCOPE, help="what tokens are for (default: %(default)s)"
    )
