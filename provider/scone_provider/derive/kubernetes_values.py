"""Judges what a person gives for the chart as the API server will: by the models of Kubernetes' own client.

Kubernetes takes text in the place of numbers nowhere, and numbers or switches in the place of text neither: what can
mean one thing only is written as Kubernetes wants it, before Helm sees it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scone_policy.syntax.holes import Later, has_hole
from scone_policy.syntax.nearest import nearest_word
from scone_policy.syntax.scalars import text
from scone_provider.derive.kubernetes_rules import (
    RULES,
    VOLUME,
    WORDS,
    annotation_rule,
    key_rule,
    label_rule,
    path_rule,
    quantity_rule,
    secret_rule,
    variable_rule,
)

MODELS = {
    "resources": "V1ResourceRequirements",
    "probes": "V1Container",
    "labels": "labels",
    "annotations": "annotations",
    "nodeSelector": "labels",
    "tolerations": "list[V1Toleration]",
    "replicas": "int",
    "port": "int",
    "epcMem": "int",
    "drainSeconds": "int",
    "env": "variables",
    "memory": "paths",
    "volumes": "dict[str, volume]",
    "pullSecrets": "secrets",
    "ownChart": "bool",
    **dict.fromkeys(("service", "image", "configId", "cas", "casKey", "policyDigest"), "str"),
    **dict.fromkeys(("kind", "restartPolicy", "sgx"), "word"),
}
"""Key of a service's values in the chart → its type there: all keys that it reads (`chart/template/values.yaml`)."""
_SET_BY_CHART = {
    "labels": (
        *("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"),
        *("app.kubernetes.io/part-of", "helm.sh/chart"),
    ),
    "annotations": ("scone/policy-digest",),
    "probes": (
        *("name", "image", "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy", "securityContext"),
        *("env", "ports", "resources", "volumeMounts"),
    ),
}
_KEYED: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "variables": ("str", variable_rule),
    "paths": ("quantity", path_rule),
    "secrets": ("bool", secret_rule),
}
"""Maps whose keys are written into the pod → the type of their values, and what is asked of a key."""
_WRITTEN_BY_CHART = frozenset({"replicas", "port", "epcMem", "drainSeconds", "env"})
"""Keys whose values the chart counts or quotes itself: they are judged, and stay as they are."""
_QUANTITIES = {("V1ResourceRequirements", "limits"), ("V1ResourceRequirements", "requests")}
_MAP, _LIST = re.compile(r"[Dd]ict[\[(]str, (.+)[\])]"), re.compile(r"[Ll]ist\[(.+)\]")
_WHOLE = re.compile("-?(0|[1-9][0-9]{0,17})")

Path = tuple[str | int, ...]
Refuse = Callable[[Path, str], None]


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How values are written as Kubernetes wants them. `refuse` notes a problem at a path of the values."""

    refuse: Refuse
    later: Later

    def service(self, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """The values of one service."""
        found = {}
        for key, value in values.items():
            kind = MODELS.get(key)
            for taken in _SET_BY_CHART.get(key, ()):
                if isinstance(value, Mapping) and taken in value:
                    self.refuse((*path, key, taken), "is set by the chart")
            fitted = value if kind is None else self._fit(value, kind, (*path, key))
            found[key] = value if key in _WRITTEN_BY_CHART else fitted
        return found

    def _fit(self, value: Any, kind: str, path: Path) -> Any:  # noqa: ANN401  JSON-like
        if value is None:
            return None
        if kind in _KEYED:
            return self._by_name(value, *_KEYED[kind], path)
        if match := _MAP.fullmatch(kind) or _LIST.fullmatch(kind):
            return (self._map if kind[:1] in "Dd" else self._list)(value, match[1], path)
        fit = {
            "labels": lambda: self._named(value, path, label_rule),
            "annotations": lambda: self._named(value, path, annotation_rule),
            "volume": lambda: self._volume(value, path),
            "word": lambda: self._word(value, path),
        }.get(kind)
        if fit is not None:
            return fit()
        return (self._model if kind[:1].isupper() else self._scalar)(value, kind, path)

    def _named(self, value: Any, path: Path, rule: Callable[[str], str]) -> Any:  # noqa: ANN401
        """Labels and annotations: maps of text by qualified names."""
        found = self._map(value, "str", path)
        for key, one in found.items() if isinstance(found, Mapping) else ():
            problem = key_rule(key) or ("" if has_hole(one) or not isinstance(one, str) else rule(one))
            if problem:
                self.refuse((*path, key), problem)
        return found

    def _by_name(self, value: Any, kind: str, rule: Callable[[str], str], path: Path) -> Any:  # noqa: ANN401
        """A map whose keys are written into the pod, too."""
        found = self._map(value, kind, path)
        for key in found if isinstance(found, Mapping) else ():
            if not has_hole(key) and (problem := rule(key)):
                self.refuse((*path, key), problem)
        return found

    def _volume(self, value: Any, path: Path) -> Any:  # noqa: ANN401
        """What the chart makes a mount and a claim, or an emptyDir, of."""
        if not isinstance(value, Mapping):
            self.refuse(path, "must be a map")
            return value
        found = {}
        for key, one in value.items():
            if (kind := VOLUME.get(str(key))) is None:
                self.refuse((*path, str(key)), f"is none of {', '.join(VOLUME)}")
                continue
            found[str(key)] = fitted = self._fit(one, kind, (*path, str(key)))
            if key == "path" and isinstance(fitted, str) and not has_hole(fitted) and (problem := path_rule(fitted)):
                self.refuse((*path, key), problem)
        return found

    def _word(self, value: Any, path: Path) -> Any:  # noqa: ANN401
        words = WORDS[str(path[-1])]
        found = self._scalar(value, "str", path)
        if isinstance(found, str) and not has_hole(found) and found not in words:
            self.refuse(path, f"must be one of {', '.join(words)}")
        return found

    def _map(self, value: Any, kind: str, path: Path) -> Any:  # noqa: ANN401
        if not isinstance(value, Mapping):
            self.refuse(path, "must be a map")
            return value
        return {str(key): self._fit(one, kind, (*path, str(key))) for key, one in value.items()}

    def _list(self, value: Any, kind: str, path: Path) -> Any:  # noqa: ANN401
        if not isinstance(value, list | tuple):
            self.refuse(path, "must be a list")
            return value
        return [self._fit(one, kind, (*path, number)) for number, one in enumerate(value)]

    def _model(self, value: Any, kind: str, path: Path) -> Any:  # noqa: ANN401
        # Only for values of this sort: the client takes half a second to import.
        import kubernetes.client  # noqa: PLC0415

        if not isinstance(value, Mapping):
            self.refuse(path, "must be a map")
            return value
        model = getattr(kubernetes.client, kind)
        names = {written: name for name, written in model.attribute_map.items()}
        found = {}
        for key, one in value.items():
            name, here = names.get(str(key)), (*path, str(key))
            if name is None:
                near = nearest_word(str(key), names)
                self.refuse(here, "Kubernetes knows no such key" + (f"; did you mean {near}?" if near else ""))
                continue
            wanted = "dict[str, quantity]" if (kind, key) in _QUANTITIES else model.openapi_types[name]
            found[str(key)] = self._fit(one, wanted, here)
        if path[-1] != "probes":  # whose container the chart completes
            for missing in sorted(_required(model) - set(found)):
                self.refuse(path, f"needs {missing}")
        for place, problem in RULES.get(kind, lambda _, __: ())(found, str(path[-1])):
            self.refuse((*path, *place), problem)
        return found

    def _scalar(self, value: Any, kind: str, path: Path) -> Any:  # noqa: ANN401
        if isinstance(value, str) and has_hole(value):
            return self.later(value, _WRITTEN[kind]) if kind in _WRITTEN else value
        if kind in ("object", "datetime"):
            return value
        if isinstance(value, Mapping | list | tuple):
            self.refuse(path, f"must be {_WORDS.get(kind, 'text')}, not a list or a map")
            return value
        if kind == "quantity":
            if problem := quantity_rule(text(value)):
                self.refuse(path, problem)
            return value
        try:
            return _WRITTEN.get(kind, text)(text(value))
        except ValueError as error:
            self.refuse(path, str(error))
            return value


def _whole(written: str) -> int:
    if not _WHOLE.fullmatch(written):
        raise ValueError("must be a whole number")
    return int(written)


def _switch(written: str) -> bool:
    if written not in ("true", "false"):
        raise ValueError("must be true or false")
    return written == "true"


def _text(written: str) -> str:
    return str(written)


_WRITTEN: Mapping[str, Callable[[str], object]] = {"int": _whole, "bool": _switch, "str": _text}
_WORDS = {"int": "a whole number", "bool": "true or false", "quantity": "a quantity"}


def _required(model: Any) -> set[str]:  # noqa: ANN401  one of the client's classes
    fields = getattr(model, "model_fields", {})
    names = model.attribute_map
    return {names[name] for name, one in fields.items() if name in names and one.is_required()}
