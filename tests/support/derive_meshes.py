"""Meshes that the derivation's tests share, and facts about their images as a build would give them."""

from collections.abc import Mapping, Sequence
from typing import Any

from scone_policy.syntax.holes import Later, at_once
from scone_policy.syntax.yaml_source import Document
from scone_provider.catalogue.entry import Curated
from scone_provider.derive import ImageFacts, MeshPlan, PlanRequest
from scone_provider.derive import derive as plan_of
from scone_provider.derive.pipeline import WrittenMesh, fill
from scone_provider.derive.variable_substitution import destination_filler, filled_mesh
from scone_provider.manifest import Mesh, ServiceManifest, load_mesh, load_service

OWNER = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"

WEB = """\
apiVersion: scone/5.8
kind: genservice
build:
  name: web
  kind: python
  to: registry.example/shop/web:1
  pwd: /app
  command: python3 web.py --title '{{title}}' --host {{db_host}}
  copy: [web.py]
environment:
  local:
    - {name: SCONE_HEAP, value: 512M}
    - {name: TITLE, value: "{{title}} by {{namespace}}"}
    - {name: DB_PASSWORD, value: "$$SCONE::db_password$$"}
    - {name: SESSION_KEY, value: "$$SCONE::session_key:hex$$"}
  global:
    - {name: title, value: Shop}
    - {name: SCONE_LOG}
secrets:
  local:
    - {name: session_key, kind: binary, size: 32}
  import: [db_password]
injection_files:
  - path: /etc/web.conf
    content: |
      password = $$SCONE::db_password$$
      host = {{db_host}}
  - {path: /etc/hosts, content: "127.0.0.1 localhost"}
"""
DATABASE = """\
apiVersion: scone/5.8
kind: genservice
build:
  name: db
  kind: python
  to: registry.example/shop/db:1
  pwd: /db
  command: python3 db.py
  copy: [db.py]
environment:
  local:
    - {name: PASSWORD, value: "$$SCONE::db_password$$"}
    - {name: ADMIN, value: "$$SCONE::admin$$"}
secrets:
  global:
    - {name: db_password, kind: ascii, size: 16}
    - {name: admin, kind: ascii}
"""
SHOP = """\
apiVersion: scone/5.8
kind: mesh
cas:
  - name: cas
    alias: [image, security, access, attestation]
    cas_url: https://cas.example:8081
    cas_key: 3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1
policy:
  namespace: company/shop
  tolerate: hyperthreading
  ignore_advisories: INTEL-SA-00586
env:
  - service: global
    env:
      - {name: SCONE_LOG, value: error}
      - {name: db_host, value: "{{release}}-db"}
      - {name: title, value: everyone}
      - {name: APP_SERVICE_PORT, value: 8080}
  - service: helm
    env:
      - {name: title, value: charts}
      - {name: useSGXDevPlugin, value: azure}
      - {name: sgxEpcMem, value: 128}
  - service: web_front
    env:
      - {name: title, value: The Shop}
      - {name: replicaCount, value: 3}
  - service: db
    env:
      - {name: restartPolicy, value: OnFailure}
      - {name: imagePullSecrets, value: ""}
services:
  - {name: web_front, image: "registry.example/shop/web:1"}
  - {name: db, image: "registry.example/shop/db:1"}
helm_extra_values: |
  ingress: {enabled: true, port: 8443, host: shop.example, factor: 0.5}
"""


def facts(identity: str, *paths: str, **changes: Any) -> ImageFacts:
    """Facts whose digits tell the image and the field."""
    digit = f"{len(identity) % 16:x}"
    found = {
        "reference": f"registry.example/{identity}@sha256:{digit * 64}",
        "measurement": digit * 64,
        "fspf_tag": digit * 32,
        "identity": identity,
        "encrypted_paths": paths,
    }
    return ImageFacts(**{**found, **changes})


def shop(*, mesh: str = SHOP, web: str = WEB, db: str = DATABASE) -> tuple[Mesh, dict[str, ServiceManifest]]:
    """The shop's manifests, each replaceable."""
    return load_mesh(mesh, file="mesh.yaml"), {
        "web_front": load_service(web, file="web.yaml"),
        "db": load_service(db, file="db.yaml"),
    }


SHOP_IMAGES = {"web_front": facts("shop/web", "/app"), "db": facts("shop/database", "/db")}


def derive(
    mesh: Mesh,
    services: Mapping[str, ServiceManifest],
    images: Mapping[str, ImageFacts],
    *,
    release: str,
    owners: Sequence[str] = (),
    policy_digests: Mapping[str, str] | None = None,
    cas_keys: Mapping[str, str] | None = None,
    templates: Mapping[str, Document] | None = None,
    curated: Mapping[str, Curated] | None = None,
    revisions: Mapping[str, str] | None = None,
    later: Later = at_once,
) -> MeshPlan:
    """What a mesh becomes, from manifests that are assigned to their services, filled or not."""
    written = WrittenMesh(
        mesh=filled_mesh(mesh, release=release),
        release=release,
        services=services,
        curated=curated or {},
        templates=templates or {},
    )
    request = PlanRequest(
        mesh=fill(written, cas_keys=cas_keys or {}),
        images=images,
        owners=owners,
        policy_digests=policy_digests or {},
        revisions=revisions or {},
        later=later,
    )
    return plan_of(request)


def filled_services(
    mesh: Mesh, services: Mapping[str, ServiceManifest], *, release: str, cas_keys: Mapping[str, str]
) -> Mapping[str, ServiceManifest]:
    """The services' manifests with their variables filled."""
    return fill(WrittenMesh(mesh=mesh, release=release, services=services), cas_keys=cas_keys).manifests


def with_destination(manifest: ServiceManifest, mesh: Mesh, *, release: str) -> ServiceManifest:
    """The manifest with its `build.to` filled."""
    return destination_filler(mesh, release=release)(manifest)
