"""Text that a manifest, a Meshfile, a catalogue or an argument has is text in the cluster's objects, and nothing else.

The real chart is rendered by the Helm that `pulumi up` uses. Each hostile text is put into each place, one at a time:
the objects have the keys, lists and types that they have with a harmless word there, or a sentence refuses it.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_scone._mesh_plan import _merged
from scone_policy.errors import SconeError
from scone_policy.syntax.yaml_source import load
from scone_provider.chart import lay_out
from scone_provider.derive.curated_variables import chart_values
from scone_provider.derive.variables import mesh_variables
from scone_provider.errors import ManifestError
from scone_provider.manifest import load_mesh, load_service
from scone_provider.manifest.findings import Findings
from support.derive_meshes import DATABASE, SHOP, SHOP_IMAGES, WEB, derive
from support.helm import Helm, started
from support.hostile_texts import TEXTS, leaves, maps, shape, some, with_key, with_value
from support.hostile_texts import Path as Place

pytestmark = pytest.mark.engine
HARMLESS = "harmless"
LONGEST_KEY = 1024
"""Of YAML: no name is longer."""
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
CHART = Path(__file__).parents[2] / "provider/scone_provider/chart/template"
EXTRA: dict[str, Any] = {
    "services": {
        "web-front": {
            "labels": {"team": "blue"},
            "annotations": {"note": "text"},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "sgx", "operator": "Equal", "value": "on", "effect": "NoSchedule"}],
            "probes": {
                "livenessProbe": {"exec": {"command": ["check", "--deep"]}},
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": "service", "httpHeaders": [{"name": "A", "value": "b"}]}
                },
                "workingDir": "/app",
            },
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
            "volumes": {
                "data": {"path": "/data", "size": "1Gi", "storageClass": "fast"},
                "tmp": {"path": "/scratch", "medium": "Memory", "limit": "64Mi"},
            },
            "memory": {"/more": "64Mi"},
            "env": {"SCONE_MORE": "text"},
            "pullSecrets": {"another": True},
            "casKey": "text",
            "policyDigest": "text",
            "configId": "text",
            "image": "text",
            "cas": "text",
        }
    }
}


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    with started(tmp_path_factory.mktemp("helm")) as found:
        yield found


def documents() -> dict[str, Any]:
    """The shop's files as data, and what else a person gives."""
    found = {"mesh": yaml.safe_load(SHOP), "web": yaml.safe_load(WEB), "db": yaml.safe_load(DATABASE)}
    found["mesh"]["helm_extra_values"] = copy.deepcopy(EXTRA)
    found["web"]["build"]["volumes"] = [{"name": "data", "path": "/data"}]
    found["web"]["build"]["dirs"] = ["/app"]
    return {**found, "release": "demo", "digest": "text"}


def values_of(given_: Mapping[str, Any]) -> dict[str, Any]:
    """The chart's values of these documents. Raises SconeError."""
    texts = {name: yaml.safe_dump(given_[name], allow_unicode=True) for name in ("mesh", "web", "db")}
    mesh = load_mesh(texts["mesh"], file="mesh.yaml")
    plan = derive(
        mesh,
        {"web_front": load_service(texts["web"], file="web.yaml"), "db": load_service(texts["db"], file="db.yaml")},
        SHOP_IMAGES,
        release=given_["release"],
        policy_digests={"web_front": given_["digest"]},
    )
    found: dict[str, Any] = _merged({"services": plan.chart["services"]}, plan.chart["extra"])
    return found


def rendered(helm: Helm, values: Mapping[str, Any], text: str, *, release: str = "demo", chart: Path = CHART) -> Any:
    objects = helm.render(chart, values, release=release, namespace="shop")
    # A Job's name is made of all of its values.
    return sorted((shape(one, text) for one in objects), key=repr)


def attempts(document: Any) -> Iterator[tuple[Place, Any, Any]]:
    """Each place of a document: where, and what makes the same document of another text there."""
    for path in leaves(document):
        yield path, document, with_value
    for path in maps(document):
        yield path, document, with_key


WHOLE = pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
DOCUMENTS = ("mesh", "web", "db", "release", "digest")


@WHOLE
@pytest.mark.parametrize("named", DOCUMENTS)
def test_hostile_text_in_a_manifest_is_text_in_the_cluster(helm: Helm, named: str, *, whole: bool) -> None:
    """Every scalar and every key of the manifests, of the Meshfile with its values for Helm, and of the arguments."""
    given_ = documents()
    usual = rendered(helm, values_of(given_), HARMLESS)
    taken = refused = 0
    for place, (path, document, changed) in enumerate(attempts(given_[named])):
        try:
            harmless = values_of({**given_, named: changed(document, path, HARMLESS)})
            wanted = rendered(helm, harmless, HARMLESS)
        except SconeError:
            wanted = usual
        for text in some(place, whole=whole):
            try:
                attacked = values_of({**given_, named: changed(document, path, text)})
            except SconeError:
                refused += 1
                continue
            release = text if named == "release" else "demo"
            assert rendered(helm, attacked, text, release=release) in (wanted, usual), (named, path, text[:80])
            taken += 1
    assert refused or named == "digest"
    assert taken or named == "release"


def service_values() -> dict[str, Any]:
    """Values with every key that the chart reads, of a Deployment and of a Job, and of a policy in the chart."""
    values = values_of(documents())
    for one in values["services"].values():
        one["drainSeconds"] = 5
    policy = {
        "kind": "SignedPolicy",
        "casAddress": "cas",
        "weight": 1,
        "policy": "name: a",
        "encryption_key": "k",
        "signatures": {"0": {"signer": "PEM", "signature": "c2ln"}},
    }
    return {**values, "policies": {"shop-web": policy}}


DECIDES = {"kind", "restartPolicy", "sgx", "size", "medium"}
"""Keys on whose words it depends which objects there are."""
NAMED_BY_PEOPLE = {"env", "memory", "volumes", "pullSecrets", "labels", "annotations", "services", "policies", "limits"}
"""Maps whose keys are names that somebody gave."""


@WHOLE
def test_the_chart_itself_quotes_everything(helm: Helm, *, whole: bool) -> None:
    """Whatever the models let pass: no value, and no name, that reaches the templates becomes YAML there."""
    values = service_values()
    numbers = {"replicas", "port", "epcMem", "drainSeconds", "weight", "ownChart"}
    tried = 0
    for place, (path, document, changed) in enumerate(attempts(values)):
        if path[-1] in DECIDES | numbers or (changed is with_key and not (path[-2:-1] and path[-2] in NAMED_BY_PEOPLE)):
            continue
        wanted = rendered(helm, changed(document, path, HARMLESS), HARMLESS)
        nested = changed is with_key or {"probes", "tolerations", "resources"} & set(path)
        for text in some(place, whole=whole):
            if nested and (CONTROL.search(text) or len(text) > LONGEST_KEY):
                continue  # what the models refuse
            assert rendered(helm, changed(document, path, text), text) == wanted, (path, text[:80])
            tried += 1
    assert tried > 400


@settings(max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_any_text_is_text(helm: Helm, text: str) -> None:
    """Generated texts in all names and values of a service at once."""
    values = service_values()
    places = [("env", "SCONE_MORE"), ("annotations", "note"), ("labels", "team"), ("memory", "/more")]
    attacked = harmless = values
    for key, name in places:
        path = ("services", "web-front", key, name)
        attacked = with_key(with_value(attacked, path, text), path, text)
        harmless = with_key(with_value(harmless, path, HARMLESS), path, HARMLESS)
    assert rendered(helm, attacked, text) == rendered(helm, harmless, HARMLESS)


OWN = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ printf "%s-own" .Release.Name | quote }}
  labels:
    {{- include "scone.selector" (dict "root" $ "name" .Values.service) | nindent 4 }}
data: {{ .Values.own | toJson }}
"""


def test_a_users_chart_gets_text_as_text(helm: Helm, tmp_path: Path) -> None:
    """A service's own chart: its values are never templates, and its name is the service's, whatever that reads as."""
    own = {
        "Chart.yaml": b"apiVersion: v2\nname: anything\nversion: 0.0.1\n",
        "templates/own.yaml": OWN.encode(),
    }
    chart = tmp_path / lay_out(tmp_path, {"on": own}, "demo")
    for text in (HARMLESS, *(one for one in TEXTS if not CONTROL.search(one) and len(one) < LONGEST_KEY)):
        one = {"service": text, "ownChart": True, "own": {text: text}}
        objects = helm.render(chart, {"services": {"on": one}, "on": one}, release="demo", namespace="shop")
        assert [one["kind"] for one in objects] == ["ConfigMap"]
        assert objects[0]["data"] == {text: text}


@WHOLE
def test_hostile_text_in_a_catalogue_is_refused_or_text(helm: Helm, *, whole: bool) -> None:
    """Values of an entry of the catalogue are judged as those of the Meshfile: text in each place of `values.yaml`."""
    from scone_provider.catalogue.entry import Curated, Description

    description = Description.model_validate({"description": "a", "image": "a", "tags": ["1"]})
    values = EXTRA["services"]["web-front"]
    base = values_of(documents())
    web = base["services"]["web-front"]
    usual = rendered(helm, base, HARMLESS)
    taken = refused = 0
    manifest = load_service(WEB, file="web.yaml")
    mesh = load_mesh(SHOP, file="mesh.yaml")
    for place, (path, document, changed) in enumerate(attempts(values)):
        for text in some(place, whole=whole):
            attacked = yaml.safe_dump(changed(document, path, text), allow_unicode=True)
            try:
                read = load(attacked, file="values.yaml", error=ManifestError)
                findings = Findings()
                variables = mesh_variables(mesh, release="demo", cas_keys={}, findings=findings)
                more = chart_values(
                    Curated(manifest=manifest, folder=".", description=description, values=read), variables
                )
                findings.stop()
            except SconeError:
                refused += 1
                continue
            found = {**base, "services": {**base["services"], "web-front": {**web, **more}}}
            wanted = usual
            if rendered(helm, found, text) != wanted:
                word = {
                    **base,
                    "services": {**base["services"], "web-front": {**web, **changed(document, path, HARMLESS)}},
                }
                wanted = rendered(helm, word, HARMLESS)
            assert rendered(helm, found, text) == wanted, (path, text[:80])
            taken += 1
    assert taken
    assert refused
