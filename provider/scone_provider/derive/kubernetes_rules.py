"""What the API server refuses although the types are right: names, quantities, probes, tolerations."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Problem = tuple[tuple[str | int, ...], str]
"""A path below the object, and the rule in words."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9]){0,14}")
_QUANTITY = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
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
