"""The Meshfile (`kind: mesh`): how services become one application, on which CASes, under which policy."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator

from scone_policy.keys.key_hash import is_key_hash
from scone_policy.model.security import ALL_ADVISORIES, advisory, toleration
from scone_policy.syntax.names import is_segment, session_name
from scone_policy.syntax.problems import Problem, refusal
from scone_policy.syntax.scalars import Model, Switch, lower_hex, switch, text
from scone_policy.syntax.yaml_source import Document
from scone_provider.cas.address import CasAddress
from scone_provider.cas.tolerance import Tolerance
from scone_provider.errors import CasError, TrustError
from scone_provider.manifest.fields import (
    ApiVersion,
    ImageReference,
    MeshVariables,
    Option,
    RepositoryFolder,
    Texts,
    comma_list,
    is_open,
    option,
    pairs_at,
)
from scone_provider.manifest.provenance import Manifest
from scone_provider.manifest.variables import read_inner

ROLES = ("cas", "image", "security", "access", "attestation")
UPLOAD, SIGNED, ENCRYPTED = "Upload", "SignedManifest", "EncryptedManifest"
NO_UPLOAD, ENCRYPTED_ONLY = "NoUpload", "EncryptedOnly"
MODES = (UPLOAD, SIGNED, ENCRYPTED, NO_UPLOAD, ENCRYPTED_ONLY)
EVERYONE, CHARTS = "global", "helm"
_HELM = ("helm_extra_values",)


def _kind(value: object) -> str:
    found = text(value)
    if found != "mesh":
        raise ValueError("must be mesh in a Meshfile")
    return found


def _mode(value: object) -> str:
    found = text(value) if value not in (None, "") else MODES[0]
    if found not in MODES and not is_open(found):
        raise ValueError(f"must be one of {', '.join(MODES)}")
    return found


def _cas_url(value: object) -> str:
    found = text(value)
    try:
        if not is_open(found):
            CasAddress.parse(found, {})
    except CasError as error:
        raise refusal(Problem(path=(), rule=error.what, fix=error.fix)) from None
    return found


def _tolerance(value: object) -> str:
    found = text(value)
    try:
        if not is_open(found):
            Tolerance.parse(found)
    except TrustError as error:
        raise refusal(Problem(path=(), rule=error.what, fix=error.fix)) from None
    return found


def _cas_key(value: object) -> str:
    found = text(value)
    if not is_open(found) and not is_key_hash(found):
        raise ValueError("must be the key hash of a CAS, as `scone cas show-identification -c` prints it")
    return found


_hex32 = lower_hex(32)


def _encryption_key(value: object) -> str:
    found = text(value)
    return found if is_open(found) else _hex32(found)


def _session(value: object) -> str:
    found = text(value)
    return found if is_open(found) else session_name(found)


def _tolerate(value: object) -> tuple[str, ...]:
    return tuple(sorted({item if is_open(item) else toleration(item) for item in comma_list(value)}))


def _advisories(value: object) -> tuple[str, ...]:
    found = comma_list(value)
    if ALL_ADVISORIES in found:
        if len(found) > 1:
            raise ValueError('"*" must stand alone')
        return found
    return tuple(sorted({item if is_open(item) else advisory(item) for item in found}))


def _cases(value: object) -> object:
    """CASes by name; one without a name is `cas`."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of maps with cas_url")  # noqa: TRY004
    found: dict[str, object] = {}
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise refusal(Problem(path=(index,), rule="must be a map with cas_url"))
        entry = dict(item)
        name = text(entry.pop("name", None) or "cas")
        if name in found:
            raise refusal(Problem(path=(index,), rule=f"two CASes have the name {name}"))
        found[name] = entry
    return found


def is_flat(item: object) -> bool:
    """Whether an entry of `env` is a variable of its own, in no service's section: one for all of them."""
    return isinstance(item, Mapping) and item.get("service") is None and item.get("name") is not None


def _environments(value: object) -> object:
    """`[{service, env}]` as a map by service; `{name, value}` beside, or in place of, them belong to `global`."""
    if value is None:
        return {}
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of maps with service and env")  # noqa: TRY004
    flat = [(index, item) for index, item in enumerate(value) if is_flat(item)]
    pairs_at(flat, value_required=True)
    found: dict[str, object] = {EVERYONE: {"env": [item for _, item in flat]}} if flat else {}
    for index, item in enumerate(value):
        if is_flat(item):
            continue
        if not isinstance(item, Mapping) or item.get("service") is None:
            fix = "Write name in place of key." if isinstance(item, Mapping) and "key" in item else ""
            raise refusal(Problem(path=(index,), rule="must be a map with service and env", fix=fix))
        if unknown := sorted(str(key) for key in set(item) - {"service", "env"}):
            raise refusal(Problem(path=(index, unknown[0]), rule="unknown key", fix="Known here are env, service."))
        service = text(item["service"])
        if service in found:
            rule = f"the service {service} stands here twice"
            if service == EVERYONE and flat:
                rule = "variables for all services stand here in a section global and beside it"
            raise refusal(Problem(path=(index,), rule=rule, fix="Put all its variables into one env."))
        found[service] = {"env": item.get("env")}
    return found


def _services(value: object) -> object:
    """Services by name; a service without one is named after its image."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of maps with image")  # noqa: TRY004
    found: dict[str, object] = {}
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise refusal(Problem(path=(index,), rule="must be a map with image"))
        entry = dict(item)
        name = text(entry.pop("name", None) or name_of_image(text(entry.get("image") or "")))
        if not is_segment(name):
            raise refusal(Problem(path=(index,), rule="the service needs a name of letters, digits, or _ - . ~"))
        if name in (EVERYONE, CHARTS):
            rule = f"{name} cannot be a service's name: in env it means several services"
            raise refusal(Problem(path=(index,), rule=rule))
        if name in found:
            rule = f"two services have the name {name}"
            raise refusal(Problem(path=(index,), rule=rule, fix="Give one of them another name."))
        found[name] = entry
    return found


def name_of_image(reference: str) -> str:
    """The last part of the repository, without tag and digest: `redis` for `host:5000/team/redis:1`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _helm_values(value: object) -> object:
    """YAML text, or the map that it would hold."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        raise ValueError("must be a map, or YAML text that holds one")  # noqa: TRY004 - pydantic takes ValueError
    return text(value)


KeyOption = Annotated[str | None, PlainValidator(option(_encryption_key), json_schema_input_type=str)]
SessionName = Annotated[str, PlainValidator(_session, json_schema_input_type=str)]
SessionOption = Annotated[str | None, PlainValidator(option(_session), json_schema_input_type=str)]


class Cas(Model):
    """One CAS: where it is, how it is trusted. Its other roles are in `alias`."""

    cas_url: Annotated[str, PlainValidator(_cas_url, json_schema_input_type=str)]
    alias: Texts = ()
    cas_key: Annotated[str | None, PlainValidator(option(_cas_key), json_schema_input_type=str)] = None
    cas_encryption_key: Annotated[str | None, PlainValidator(option(_encryption_key), json_schema_input_type=str)] = (
        None
    )
    tolerance: Annotated[str | None, PlainValidator(option(_tolerance), json_schema_input_type=str)] = None
    mode: Annotated[str, PlainValidator(_mode, json_schema_input_type=str)] = MODES[0]


class MeshPolicy(Model):
    """Section `policy`: the namespace, and what attestation of its services puts up with."""

    namespace: SessionName
    tolerate: Annotated[tuple[str, ...], PlainValidator(_tolerate, json_schema_input_type=str)] = ()
    ignore_advisories: Annotated[tuple[str, ...], PlainValidator(_advisories, json_schema_input_type=str)] = ()
    maa: Option = None
    image_policy_namespace: SessionOption = None
    access_policy_name: SessionOption = None
    attestation_policy_name: SessionOption = None
    security_policy_name: SessionOption = None


class ServiceEnvironment(Model):
    """Values for one service, or for all (`global`, `helm`)."""

    env: MeshVariables = Field(default_factory=dict)


class MeshService(Model):
    """One service: its image, and files that replace what the image carries."""

    image: ImageReference
    image_secrets: Option = None
    image_policy: Option = None
    env: Option = None
    helm_chart: Option = None


SwitchedOn = Annotated[
    bool | str,
    PlainValidator(lambda value: True if value is None else switch(value), json_schema_input_type=bool | None),
]


class Repo(Model):
    """Section `repo`: what becomes of the images."""

    destination: RepositoryFolder
    push: SwitchedOn = True
    squash: Switch = False
    strip: SwitchedOn = True
    key_file: Option = None
    config_id: Option = None


HelmValues = Annotated[
    str | dict[str, Any] | None,
    PlainValidator(option(_helm_values), json_schema_input_type=str | dict[str, Any] | None),
]


class Mesh(Manifest):
    """A Meshfile. `cas`, `env` and `services` are maps by name."""

    apiVersion: ApiVersion  # noqa: N815 - the document's own key
    kind: Annotated[str, PlainValidator(_kind, json_schema_input_type=str)]
    cas: Annotated[dict[str, Cas], BeforeValidator(_cases)]
    policy: MeshPolicy
    env: Annotated[dict[str, ServiceEnvironment], BeforeValidator(_environments)]
    services: Annotated[dict[str, MeshService], BeforeValidator(_services)]
    repo: Repo | None = None
    helm_extra_values: HelmValues = None
    extra_policies: Any = None

    def helm_values(self) -> Document:
        """`helm_extra_values` as a document: the text's own, with its lines, or a part of the Meshfile.

        Raises ManifestError for a text that is no YAML.
        """
        values = self.helm_extra_values
        if isinstance(values, str):
            return read_inner(values)
        lines = {path[1:]: line for path, line in self.document.lines.items() if path[:1] == _HELM}
        return Document(data=values or {}, file=self.document.file, lines=lines)

    def helm_place(self, *path: str) -> tuple[str, str]:
        """How an error names a part of `helm_extra_values`, and the place of it in the Meshfile."""
        named = ".".join(path)
        if isinstance(self.helm_extra_values, str):
            return f"{named} (line {self.helm_values().line(path)} of the text)", self.where(*_HELM)
        return named, self.where(*_HELM, *path)

    def cas_name(self, role: str) -> str:
        """The name of the CAS that fills one of the five roles."""
        return next(name for name, cas in self.cas.items() if role == name or role in cas.alias)

    def cas_of(self, role: str) -> Cas:
        """The CAS that fills one of the five roles."""
        return self.cas[self.cas_name(role)]
