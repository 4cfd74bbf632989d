"""Documents that are neither a service manifest nor a Meshfile, told as what they are, with what to do about it."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

KINDS = {"genservice": "a service manifest", "mesh": "a Meshfile"}
"""`kind` of the documents with `apiVersion: scone/…`, and what they are called."""

SORTS = "Manifests begin with apiVersion and kind (genservice or mesh), sessions with name and version."
"""How the documents that this package reads begin."""
_KNOWN = " or ".join(sorted(KINDS, reverse=True))
_DRAFTS = {"genappimage": "genservice", "genimage": "genservice", "meshfile": "mesh", "app": "mesh"}
_OPERATOR = "an object of the SCONE operator"
_APPLY = "Apply it with kubectl, where the SCONE operator runs."
_GROUPS = {
    "scone.cloud": (
        "an instruction for the vendor's tools that make Kubernetes manifests confidential",
        f"Write the image as a service manifest with kind: sconify_image, and the application as a Meshfile. {SORTS}",
    ),
    "cas.scone.cloud": (
        f"{_OPERATOR}, which carries a policy to CAS",
        "Check the session inside of it; a Meshfile with mode: SignedManifest or EncryptedManifest makes such objects.",
    ),
    "base.scone.cloud": (f"{_OPERATOR}, which sets up a node for SGX", _APPLY),
    "services.scone.cloud": (f"{_OPERATOR}, which runs a service of the vendor's", _APPLY),
}
_OBJECTS = {
    "SignedPolicy": "a signed policy",
    "EncryptedPolicy": "an encrypted policy",
    "LAS": "the local attestation service (LAS)",
    "SGXPlugin": "the SGX device plug-in",
    "CAS": "a CAS",
    "Vault": "a confidential Vault",
    "Register": "the registration of an image",
    "Apply": "the change of a Kubernetes manifest",
}
_KUBERNETES = re.compile(r"v1|[a-z0-9.\-]+/v[0-9]+((alpha|beta)[0-9]+)?")
_HEADER = re.compile(r"^(apiVersion|kind)[ \t]*:[ \t]*[\"']?([A-Za-z0-9./\-]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a document is, and what to do; `key` is what tells. `ours`: it says so itself, of an unknown kind."""

    what: str
    fix: str
    key: str = "apiVersion"
    ours: bool = False


def foreign(data: object) -> Foreign | None:
    """What a document is that says so itself, and is none of ours; None for all others."""
    if not isinstance(data, Mapping):
        return None
    version, kind = data.get("apiVersion"), data.get("kind")
    if not isinstance(version, str):
        return _without_version(data)
    kind = kind if isinstance(kind, str) else ""
    group, _, _ = version.partition("/")
    if group == "scone":
        return _other_kind(kind)
    if group in _GROUPS and kind not in KINDS:
        what, fix = _GROUPS[group]
        named = f"{kind} ({version})" if kind else version
        return Foreign(what=f"{named} is {what}{_object(kind)}: no service manifest and no Meshfile", fix=fix)
    return _of_kubernetes(version, kind, data)


def _of_kubernetes(version: str, kind: str, data: Mapping[object, object]) -> Foreign | None:
    if kind and kind not in KINDS and _KUBERNETES.fullmatch(version):
        return Foreign(
            what=f"a manifest's kind is {_KNOWN}",
            fix=f"{SORTS} {kind} ({version}) is a Kubernetes object: what is deployed is changed by "
            "`helm_extra_values` of a Meshfile, or a service's own `helm_chart`.",
            key="kind",
        )
    if not kind and "name" in data and "version" in data and version in ("v1", "v2"):
        return Foreign(
            what="this is the Chart.yaml of a Helm chart: no service manifest and no Meshfile",
            fix="Name the chart's folder as `helm_chart` of a service of the Meshfile.",
        )
    return None


def foreign_text(text: str) -> Foreign | None:
    """The same for a text that is no YAML, or holds several documents: by the first lines that say what it is."""
    found: dict[str, object] = {}
    for key, value in _HEADER.findall(text):
        found.setdefault(key, value)
    other = foreign(found)
    return None if other is None or other.ours else other


def _object(kind: str) -> str:
    return f" ({_OBJECTS[kind]})" if kind in _OBJECTS else ""


def _other_kind(kind: str) -> Foreign | None:
    if kind in KINDS:
        return None
    meant = _DRAFTS.get(kind.lower())
    near = [meant] if meant else difflib.get_close_matches(kind.lower(), KINDS, n=1)
    if not kind:
        return Foreign(what=f"a manifest's kind is {_KNOWN}", fix=SORTS, key="kind", ours=True)
    fix = f"Did you mean {near[0]}?" if near else SORTS
    return Foreign(what=f"a manifest's kind is {_KNOWN}", fix=fix, key="kind", ours=True)


def _without_version(data: Mapping[object, object]) -> Foreign | None:
    services = data.get("services")
    if isinstance(services, Mapping) and any(map(_is_composed, services.values())):
        return Foreign(
            what="this looks like a Docker Compose file: no service manifest, no Meshfile and no session",
            fix=f"Write the services into a Meshfile, and those that are built into service manifests. {SORTS}",
            key="services",
        )
    return None


def _is_composed(service: object) -> bool:
    """Whether this is a service of a Compose file: a session's have neither an image of their own nor ports."""
    keys = set(service) if isinstance(service, Mapping) else set()
    return bool({"build", "ports", "image", "depends_on"} & keys) and not {"attestation", "mrenclaves"} & keys
