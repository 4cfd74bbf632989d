"""Values of the Helm chart of a mesh: services by their Kubernetes names, no lists, no secrets."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from scone_policy.syntax.holes import Later, at_once, has_hole
from scone_provider.derive.environment import ServiceVariables
from scone_provider.derive.facts import ImageFacts
from scone_provider.derive.variables import Value, Variables
from scone_provider.derive.volumes import Volume
from scone_provider.errors import ManifestError
from scone_provider.manifest.findings import Findings
from scone_provider.manifest.mesh import Mesh
from scone_provider.manifest.names import kubernetes_name
from scone_provider.manifest.outputs import INSTEAD, NOT_AN_OUTPUT

ENCLAVE_PORT = 18765
LEAST_MEMORY = 64
"""MiB for what is decrypted into one directory, where it is small or nobody looked."""
SPARE_MEMORY = 32
SIMULATION = "--only_for_testing-debug"
DRAIN_SECONDS = 5
"""How long a pod that is taken down still serves: until every node has stopped sending it requests."""
DEFAULT_PULL_SECRET = "sconeapps"  # noqa: S105 - the name of a Kubernetes object
_LONGEST_NAME = 50
_LONGEST_RELEASE = 53
"""Helm's own limit."""
_LONGEST_LABEL = 63
"""RFC 1123; the names of Deployments and Services are `<release>-<service>`."""
_RELEASE = re.compile("[a-z]([a-z0-9-]*[a-z0-9])?")
_OWN_VALUES = ("services", "global")

_Checked = dict[str, Any]


def is_simulated(mesh: Mesh) -> bool:
    """True when the Meshfile puts up with a CAS in debug mode: then no SGX device can be expected."""
    return SIMULATION in (mesh.cas_of("cas").tolerance or "").split()


def enclave_address(cas_url: str) -> str:
    """host:port of a CAS's enclave port: services always use 18765, whatever port clients use."""
    host = re.sub("^[a-z]+://", "", cas_url).partition("/")[0]
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:]+)(?::[0-9]+)?", host)
    return f"{match[1] if match else host}:{ENCLAVE_PORT}"


def memory_size(needed: int) -> str:
    """The size of a mount for `needed` bytes of files, as Kubernetes writes it.

    A power of two with room to spare: few edits of a service's files change its release.
    """
    size = LEAST_MEMORY
    while (size - SPARE_MEMORY) << 20 < needed:
        size *= 2
    return f"{size}Mi"


def kubernetes_names(mesh: Mesh, *, release: str, findings: Findings, warnings: list[str]) -> dict[str, str]:
    """Mesh name → Kubernetes name of every service; a changed one warns.

    Notes a finding for a collision, for a name that is empty or too long beside the release's, and for a release that
    Helm or Kubernetes would refuse.
    """
    if not _RELEASE.fullmatch(release) or len(release) > _LONGEST_RELEASE:
        findings.add(
            f"{release!r} cannot be the name of a Helm release",
            where="release",
            fix=f"Give a name of 1 to {_LONGEST_RELEASE} lower-case letters, digits and dashes, a letter first.",
        )
        release = ""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in mesh.services:
        where = mesh.where("services", name)
        lowered = kubernetes_name(name)
        if not lowered or len(lowered) > _LONGEST_NAME:
            findings.add(
                f"no Kubernetes name of 1 to {_LONGEST_NAME} characters can be made of {name!r}",
                where=where,
                fix="Give the service a name with some letters or digits, and a short one.",
            )
        elif len(release) + 1 + len(lowered) > _LONGEST_LABEL:
            findings.add(
                f"{release}-{lowered} has more than the {_LONGEST_LABEL} characters that Kubernetes takes",
                where=where,
                fix="Give a shorter release, or the service a shorter name.",
            )
        elif lowered in taken:
            findings.add(
                f"{name} and {taken[lowered]} would both be named {lowered} in Kubernetes",
                where=where,
                fix="Give one of them another name.",
            )
        elif lowered != name:
            warnings.append(f"the service {name} is named {lowered} in Kubernetes, which refuses {name}")
        taken[lowered] = found[name] = lowered
    return found


def service_values(
    mesh: Mesh,
    *,
    image: ImageFacts,
    environment: ServiceVariables,
    volumes: Sequence[Volume],
    variables: Variables,
    policy_digest: str,
    revision: str | None = None,
    later: Later = at_once,
) -> tuple[_Checked, list[str]]:
    """The chart's values of one service, and warnings. Notes a finding for each value that Kubernetes could not use.

    `revision`: the service's name at CAS where rollouts overlap. `later`: for values that are not known yet.
    """
    name = variables.service
    warnings: list[str] = []
    cas = mesh.cas_of("cas")
    restart = _one_of(variables, "restartPolicy", ("Always", "OnFailure", "Never"), "Always")
    replicas = _number(variables, "replicaCount", low=0, high=10_000, default=1, later=later)
    if restart != "Always" and isinstance(replicas, int) and replicas > 1:
        warnings.append(
            f"replicaCount of the service {name} has no effect: restartPolicy {restart} makes a Job, one pod"
        )
    plugin = "disabled" if is_simulated(mesh) else "scone"
    values: _Checked = {
        "service": name,
        "image": image.reference,
        "configId": f"{mesh.policy.namespace}/{name}/{revision or name}",
        "cas": _told(later, variables.fill(cas.cas_url, where=mesh.where("cas")), enclave_address),
        "env": {key: _told(later, value, str) for key, value in environment.container.items()},
        "replicas": replicas,
        "kind": "Deployment" if restart == "Always" else "Job",
        "restartPolicy": restart,
        "sgx": _one_of(variables, "useSGXDevPlugin", ("scone", "azure", "disabled"), plugin, later),
        "memory": {path: memory_size(image.sizes.get(path, 0)) for path in sorted(image.encrypted_paths)},
        "pullSecrets": {},
        "policyDigest": policy_digest,
    }
    if revision is not None:
        values["drainSeconds"] = DRAIN_SECONDS
        for volume in volumes:
            if volume.size:
                variables.findings.add(
                    f"the volume {volume.name} has one writer, so pods of two revisions cannot overlap",
                    where=mesh.where("services", name),
                    fix=f'Give "rollout": "replace", or leave volume_{volume.name}_size out.',
                )
    if volumes:
        values["volumes"] = {volume.name: volume.chart for volume in volumes}
    if cas.cas_key is not None:
        values["casKey"] = cas.cas_key
    for key, variable, high in (("port", "APP_SERVICE_PORT", 65_535), ("epcMem", "sgxEpcMem", 2**20)):
        number = _number(variables, variable, low=1, high=high, default=None, later=later)
        if number is not None:
            values[key] = number
    secret = _pull_secret(variables, warnings)
    if secret:
        values["pullSecrets"] = {secret: True}
    return values, warnings


def _told(later: Later, text: str, function: Callable[[str], str]) -> str:
    return later(text, function) if has_hole(text) else function(text)


def _one_of(variables: Variables, name: str, allowed: tuple[str, ...], default: str, later: Later | None = None) -> str:
    """One of a few words; without `later` it must be known, because it decides what there is."""
    value = variables.get(name)
    if value is None:
        return default
    rule = f"{name} must be one of {', '.join(allowed)}"

    def word(text: str, where: str = value.where) -> str:
        if text in allowed:
            return text
        near = difflib.get_close_matches(text.lower(), [one.lower() for one in allowed], n=1)
        meant = next((one for one in allowed if near and one.lower() == near[0]), default)
        raise ManifestError(rule, where=where, fix=f"Write {name}: {meant}.")

    if has_hole(value.text) and later is not None:
        return later(value.text, word)
    if has_hole(value.text):
        variables.findings.add(f"{name}: {NOT_AN_OUTPUT}", where=value.where, fix=INSTEAD)
        return default
    try:
        return word(value.text)
    except ManifestError as error:
        variables.findings.add(error.what, where=value.where, fix=error.fix)
        return default


def _number(
    variables: Variables, name: str, *, low: int, high: int, default: int | None, later: Later
) -> int | str | None:
    value = variables.get(name)
    if value is None or value.text == "":
        return default

    def number(text: str, where: str = value.where) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not low <= int(text) <= high:
            rule = f"{name} must be a number from {low} to {high}"
            raise ManifestError(rule, where=where, fix="Write digits alone.")
        return int(text)

    if has_hole(value.text):
        return later(value.text, number)
    try:
        return number(value.text)
    except ManifestError as error:
        variables.findings.add(error.what, where=value.where, fix=error.fix)
        return default


def _pull_secret(variables: Variables, warnings: list[str]) -> str:
    value = variables.get("imagePullSecrets") or Value(text=DEFAULT_PULL_SECRET, where="")
    if has_hole(value.text):
        variables.findings.add(f"imagePullSecrets: {NOT_AN_OUTPUT}", where=value.where, fix=INSTEAD)
        return ""
    if value.text == "":
        return ""
    lowered = re.sub(r"[^a-z0-9.]+", "-", value.text.lower()).strip("-.")
    if not lowered:
        rule = "imagePullSecrets must name a Kubernetes secret"
        fix = f'Write its name, such as {DEFAULT_PULL_SECRET}, or "" for none.'
        variables.findings.add(rule, where=value.where, fix=fix)
    elif lowered != value.text:
        warnings.append(
            f"imagePullSecrets: {value.text} is named {lowered} in Kubernetes, which refuses the name ({value.where})"
        )
    return lowered
