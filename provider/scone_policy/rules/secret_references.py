"""Secrets that are made from others: keys, signers and issuers must be there, and fit."""

from collections.abc import Iterator

from scone_policy.keys import pem
from scone_policy.model.secrets import Secret
from scone_policy.rules.secret_names import Secrets, meant, naming_problems
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Path

_LONGEST_CHAIN = 64
"""Certificates above one that are looked at for a circle. No CAS makes a secret from so many others."""


def secret_problems(path: Path, secret: Secret, secrets: Secrets) -> Iterator[Problem]:
    """The problems of one secret with those that it names."""
    if secret.private_key is not None and secret.kind != "aad-token":
        yield from naming_problems((*path, "private_key"), secret.private_key, ("private-key",), secrets, "must name")
    if secret.signer is not None:
        yield from naming_problems((*path, "signer"), secret.signer, ("private-key",), secrets, "must name")
        found = meant(secret.signer, secrets)
        if found is not None and not _may_be_p384(secrets[found[0]]):
            rule = "must name a private-key secret with key_type P-384 (ES384)"
            yield Problem(path=(*path, "signer"), rule=rule, fix="Write key_type: P-384 there.")
    if secret.issuer is not None:
        yield from _issuer_problems((*path, "issuer"), secret, secrets)
    token = (secret.import_akv or {}).get("token")
    if isinstance(token, str):
        yield from naming_problems((*path, "import_akv", "token"), token, ("aad-token",), secrets, "token must name")


def _may_be_p384(key: Secret) -> bool:
    if key.kind != "private-key" or has_hole(key.value):
        return True
    if isinstance(key.value, str):
        return pem.is_p384(key.value)
    return not key.is_generated or key.key_type == "P-384" or has_hole(key.key_type)


def _issuer_problems(path: Path, secret: Secret, secrets: Secrets) -> Iterator[Problem]:
    written = secret.issuer or ""
    found = meant(written, secrets)
    issuer = secrets[found[0]] if found is not None else None
    given = issuer is not None and issuer.kind in ("x509", "x509-ca") and issuer.value is not None
    yield from naming_problems(path, written, ("x509-ca", "x509") if given else ("x509-ca",), secrets, "must name")
    if given and issuer is not None and not has_hole(issuer.value):
        # Beside a given certificate nothing is signed: the issuer only stands above it.
        if issuer.private_key is None and secret.is_generated:
            rule = "names a certificate that was given without private_key: nothing could be signed with it"
            yield Problem(path=path, rule=rule, fix="Add private_key there, naming a private-key secret with its key.")
        if not pem.is_authority(issuer.value):
            rule = "names a certificate that is not one of a CA: it cannot sign others"
            yield Problem(path=path, rule=rule, fix="Name the CA's own certificate.")
    if _issues_itself(secret, secrets):
        rule = "leads in a circle back to this certificate: none of them could be the first to sign"
        yield Problem(path=path, rule=rule, fix="Leave issuer out of the one that is the root.")


def _issues_itself(secret: Secret, secrets: Secrets) -> bool:
    above = secret
    for _ in range(min(len(secrets), _LONGEST_CHAIN)):
        found = meant(above.issuer, secrets) if above.issuer is not None else None
        if found is None or not secrets[found[0]].is_generated:
            return False
        above = secrets[found[0]]
        if above is secret:
            return True
    return False
