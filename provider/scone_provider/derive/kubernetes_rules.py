"""What the API server refuses although the types are right: names, quantities, probes, tolerations."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scone_policy.syntax.holes import PATTERN
from scone_provider.manifest.fields import VARIABLE_NAME

Problem = tuple[tuple[str | int, ...], str]
"""A path below the object, and the rule in words."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "kind": ("Deployment", "Job"),
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "sgx": ("disabled", "scone", "azure"),
    "medium": ("", "Memory"),
}
"""Keys of a service's values that take one of a few words."""
VOLUME: Mapping[str, str] = {
    "path": "str",
    "size": "quantity",
    "storageClass": "str",
    "medium": "word",
    "limit": "quantity",
}
"""Keys of a volume in the chart's values → their types."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9]){0,14}")
_QUANTITY = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_TOKEN = re.compile(PATTERN)
_LONGEST_PREFIX = 253
_LARGEST_ANNOTATION = 256 * 1024
_HIGHEST_PORT = 65_535
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
_LEAST = {
    "initialDelaySeconds": 0,
    "timeoutSeconds": 1,
    "periodSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 1,
    "terminationGracePeriodSeconds": 1,
}
_OPERATORS = ("Exists", "Equal", "Lt", "Gt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def key_rule(key: str) -> str:
    """What is wrong with the key of a label or an annotation; empty when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name):
        return "the name of a key has 1 to 63 letters, digits, or - _ . between them"
    if slash and (len(prefix) > _LONGEST_PREFIX or not _PREFIX.fullmatch(prefix)):
        return "what stands before the / of a key is a domain in lower case"
    return ""


def label_rule(value: str) -> str:
    """The same for the value of a label."""
    if value and not _NAME.fullmatch(value):
        return "the value of a label has at most 63 letters, digits, or - _ . between them"
    return ""


def annotation_rule(value: str) -> str:
    """The same for the value of an annotation."""
    return f"has more than {_LARGEST_ANNOTATION} bytes" if len(value.encode()) > _LARGEST_ANNOTATION else ""


def control_problems(tree: object, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """Each text, and each key, of a JSON-like tree with characters that YAML has no place for, or takes for others."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from control_problems(str(key), (*path, str(key)))
            yield from control_problems(value, (*path, str(key)))
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from control_problems(value, (*path, number))
    elif isinstance(tree, str) and _CONTROL.search(_TOKEN.sub("", tree)):
        yield path, "must not hold control characters"


def variable_rule(name: str) -> str:
    """The same for the name of a variable of the container."""
    return "" if VARIABLE_NAME.fullmatch(name) else "a variable's name is made of letters, digits and _, no digit first"


def path_rule(path: str) -> str:
    """The same for a path in the container."""
    if not path.startswith("/") or ":" in path:
        return "must be an absolute path without a colon"
    return ""


def secret_rule(name: str) -> str:
    """The same for the name of a pull secret."""
    return "" if len(name) <= _LONGEST_PREFIX and _PREFIX.fullmatch(name) else "must be the name of a Kubernetes secret"


def quantity_rule(written: str) -> str:
    """The same for an amount of a resource."""
    if not _QUANTITY.fullmatch(written):
        return "must be a quantity, such as 500m, 2, 512Mi or 1Gi"
    return "must not be negative" if written.startswith("-") and written.strip("-0.") else ""


def _resources(found: Mapping[str, Any], _: str) -> Iterator[Problem]:
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 - as its models: only where it is needed

    limits, requests = found.get("limits"), found.get("requests")
    for section, amounts in (("limits", limits), ("requests", requests)):
        for name in amounts if isinstance(amounts, Mapping) else ():
            if problem := key_rule(name):
                yield (section, name), problem
    if not isinstance(limits, Mapping) or not isinstance(requests, Mapping):
        return
    for name in sorted(set(limits) & set(requests)):
        most, asked = str(limits[name]), str(requests[name])
        known = _QUANTITY.fullmatch(most) and _QUANTITY.fullmatch(asked)
        if known and parse_quantity(asked) > parse_quantity(most):  # type: ignore[no-untyped-call]
            yield ("requests", name), "must not be more than the limit"


def _probe(found: Mapping[str, Any], name: str) -> Iterator[Problem]:
    handlers = [handler for handler in _HANDLERS if found.get(handler) is not None]
    if len(handlers) != 1:
        yield (), f"must have exactly one of {', '.join(_HANDLERS)}"
    for key, least in _LEAST.items():
        if isinstance(found.get(key), int) and found[key] < least:
            yield (key,), f"must be at least {least}"
    if name in ("livenessProbe", "startupProbe") and found.get("successThreshold", 1) not in (1, None):
        yield ("successThreshold",), f"must be 1 for a {name}"


def _port(found: Mapping[str, Any], _: str) -> Iterator[Problem]:
    port = found.get("port")
    written = str(port)
    if port is None or "\x00" in written:
        return
    if written.isascii() and written.isdigit():
        if not 1 <= int(written) <= _HIGHEST_PORT:
            yield ("port",), f"must be a port from 1 to {_HIGHEST_PORT}"
    elif not _PORT_NAME.fullmatch(written):
        yield ("port",), "must be a port's number, or its name of at most 15 small letters, digits and dashes"


def _get(found: Mapping[str, Any], name: str) -> Iterator[Problem]:
    yield from _port(found, name)
    if found.get("scheme", "HTTP") not in ("HTTP", "HTTPS", None):
        yield ("scheme",), "must be HTTP or HTTPS"


def _toleration(found: Mapping[str, Any], _: str) -> Iterator[Problem]:
    operator, effect, key = found.get("operator") or "Equal", found.get("effect"), found.get("key")
    if operator not in _OPERATORS and "\x00" not in operator:
        yield ("operator",), f"must be one of {', '.join(_OPERATORS)}"
    if effect and effect not in _EFFECTS and "\x00" not in effect:
        yield ("effect",), f"must be one of {', '.join(_EFFECTS)}"
    if key and "\x00" not in key and (problem := key_rule(key)):
        yield ("key",), problem
    if not key and operator != "Exists":
        yield (), "without a key the operator must be Exists"
    if operator == "Exists" and found.get("value"):
        yield ("value",), "must be empty where the operator is Exists"
    if found.get("tolerationSeconds") is not None and effect not in ("NoExecute", None):
        yield ("tolerationSeconds",), "needs the effect NoExecute"


RULES: Mapping[str, Callable[[Mapping[str, Any], str], Iterator[Problem]]] = {
    "V1ResourceRequirements": _resources,
    "V1Probe": _probe,
    "V1HTTPGetAction": _get,
    "V1TCPSocketAction": _port,
    "V1GRPCAction": _port,
    "V1Toleration": _toleration,
}
"""Name of a model → what else is asked of it: the object with its parts as Kubernetes wants them, and its key."""
