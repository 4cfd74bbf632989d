"""Where an Output may stand in a manifest: where its value is used, and not where it decides what there is to do."""

from typing import Any

import pytest

from scone_policy.syntax.holes import Holes
from scone_policy.syntax.yaml_source import Document
from scone_provider.errors import ManifestError
from scone_provider.manifest.outputs import output_problems, refuse_outputs

LATER = Holes().punch("later")


def places(data: object, kind: str = "genservice") -> list[str]:
    """Where an Output is refused, as errors name it."""
    return [".".join(map(str, problem.path)) for problem in output_problems(Document(data=data), kind=kind)]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("genservice", {"build": {"to": LATER, "run": [LATER], "volumes": [{"export": [{"session": LATER}]}]}}),
        ("genservice", {"build": {"pwd": LATER, "dirs": ["/a"]}}),
        ("genservice", {"secrets": {"local": [{"name": "a", "kind": "ascii", "value": f"x{LATER}"}]}}),
        ("genservice", {"environment": {"local": [{"name": "A", "value": LATER}]}}),
        ("mesh", {"cas": [{"cas_url": LATER}], "services": [{"name": "a", "image": LATER}]}),
        ("mesh", {"policy": {f"{role}_policy_name": LATER for role in ("access", "attestation", "security")}}),
        ("mesh", {"helm_extra_values": {"a": [{"b": LATER}]}}),
        ("mesh", {"policy": {"namespace": "a"}}),
        ("mesh", "no map"),
        ("mesh", None),
    ],
)
def test_outputs_that_are_values(kind: str, data: Any) -> None:
    """They are what a program gives, and a manifest without any Output has nothing to refuse."""
    assert places(data, kind) == []


@pytest.mark.parametrize(
    ("kind", "data", "place"),
    [
        ("genservice", {"build": {"to": LATER, "copy": [LATER]}}, "build.copy.0"),
        ("genservice", {"build": {"pwd": LATER, "copy": ["a.py"]}}, "build.pwd"),
        ("genservice", {"build": {"pwd": LATER, "dirs": ["a"]}}, "build.pwd"),
        ("genservice", {"secrets": {"local": [{"name": "a", "kind": LATER}]}}, "secrets.local.a.kind"),
        ("genservice", {"environment": {"local": [{"name": LATER, "value": "1"}]}}, "environment.local.0.name"),
        (
            "genservice",
            {"environment": {"local": [{"name": "A", "value": "1"}], "global": LATER}},
            "environment.global",
        ),
        ("mesh", {"services": [{"name": LATER, "image": "r.test/a:1"}]}, "services.0.name"),
        ("mesh", {"cas": [{"name": "a", "mode": LATER}]}, "cas.a.mode"),
        ("mesh", {"policy": LATER}, "policy"),
        ("mesh", {"helm_extra_values": {LATER: 1}}, f"helm_extra_values.{LATER}"),
    ],
)
def test_outputs_that_decide_what_there_is(kind: str, data: Any, place: str) -> None:
    """Each is refused alone and at its place, with items of lists by their names; values beside it are not."""
    assert places(data, kind) == [place]
    with pytest.raises(ManifestError, match="an Output cannot stand here"):
        refuse_outputs(Document(data=data), kind=kind)
