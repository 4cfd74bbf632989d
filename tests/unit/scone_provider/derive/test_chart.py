"""What is judged about the chart's values before Helm sees them: names, sizes, and what a Meshfile adds."""

from typing import Any

import pytest

from scone_provider.derive import MeshPlan
from scone_provider.derive.chart import memory_size
from scone_provider.errors import ManifestError
from support.derive_meshes import SHOP, SHOP_IMAGES, derive, facts, shop

EXTRA = SHOP[SHOP.index("helm_extra_values") :]


def plan(extra: str = "", *, release: str = "shop", **changes: Any) -> MeshPlan:
    """The shop's plan with these values of its own, written as a block, and changes of an image's facts."""
    text = "helm_extra_values: |\n" + "".join(f"  {line}\n" for line in extra.splitlines()) if extra else ""
    mesh, services = shop(mesh=SHOP.replace(EXTRA, text))
    images = {**SHOP_IMAGES, "db": facts("shop/database", "/db", **changes)}
    return derive(mesh, services, images, release=release)


def refusal(extra: str = "", **options: Any) -> str:
    """The text of the error."""
    with pytest.raises(ManifestError) as caught:
        plan(extra, **options)
    return str(caught.value)


@pytest.mark.parametrize("release", ["My Release", "9lives", "shop-", "a.b", "", "r" * 54])
def test_release_that_helm_or_kubernetes_refuses(release: str) -> None:
    """It is refused before anything is built, with what would do."""
    text = refusal(release=release)
    assert text.startswith(f"release: {release!r} cannot be the name of a Helm release\n  → Give a name of 1 to 53 ")


def test_names_that_are_too_long_together() -> None:
    """A Service that is cut would not be found under its name: 63 characters are in order, 64 are not."""
    assert plan(release="r" * 53).chart["services"].keys() == {"web-front", "db"}
    mesh, services = shop(mesh=SHOP.replace("web_front", "web_front2"))
    services["web_front2"] = services.pop("web_front")
    images = {**SHOP_IMAGES, "web_front2": SHOP_IMAGES["web_front"]}
    with pytest.raises(ManifestError, match=r"^mesh\.yaml:\d+: services\.web_front2: r{53}-web-front2 has more than"):
        derive(mesh, services, images, release="r" * 53)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("services: 5", "services (line 1 of the text): must be a map of services"),
        ("a: 1\nservices:\n  db: 7", "services.db (line 3 of the text): must be a map of the service's values"),
        ("services: {nosuch: {}}", "the chart has no service nosuch\n  → It has db, web-front."),
        ("services: {web_front: {}}", "the chart has no service web_front\n  → Did you mean web-front?"),
        ("policies: {}", "policies (line 1 of the text): policies are derived, not given"),
    ],
)
def test_extra_values_that_the_chart_cannot_use(extra: str, said: str) -> None:
    """Their shape is judged with the line of the Meshfile, and the line of the text in it."""
    text = refusal(extra)
    assert text.startswith("mesh.yaml:35: helm_extra_values: ")
    assert said in text


def test_extra_values_without_effect() -> None:
    """A value that no template reads is taken, and said; what a service or its own chart reads is not."""
    found = plan("services: {db: {replicas: 2}}\nglobal: {a: 1}\nservice: {}\nweb-fron: {}")
    assert found.chart["extra"]["services"] == {"db": {"replicas": 2}}
    told = "\n".join(warning for warning in found.warnings if "has no effect" in warning)
    assert "service (line 3 of the text) has no effect" in told
    assert "; did you mean services? (mesh.yaml:35: helm_extra_values)" in told
    assert "web-fron (line 4 of the text) has no effect" in told
    assert "; did you mean services.web-front?" in told
    assert "global (line" not in told


@pytest.mark.parametrize(
    ("mebibytes", "size"), [(0, "64Mi"), (32, "64Mi"), (33, "128Mi"), (96, "128Mi"), (100, "256Mi"), (1024, "2048Mi")]
)
def test_memory_for_what_is_decrypted(mebibytes: int, size: str) -> None:
    """At least 64 MiB, with 32 to spare, and in steps so large that an edit rarely changes the release."""
    assert memory_size(mebibytes << 20) == size
    assert plan(sizes={"/db": mebibytes << 20}).chart["services"]["db"]["memory"] == {"/db": size}
