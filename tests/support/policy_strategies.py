"""Generated sessions, valid by construction, in wire shape, with every feature of the session language."""

import base64
import copy
import string
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import strategies as st

NAMES = st.text(alphabet=string.ascii_letters + string.digits + "_-~", min_size=1, max_size=8)
HEX32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
HEX16 = st.binary(min_size=16, max_size=16).map(bytes.hex)
TEXT = st.text(alphabet=st.characters(exclude_characters="\x00$@", exclude_categories=["Cs"]), max_size=20)
PRINTABLE = st.text(alphabet=string.ascii_letters + string.punctuation.replace("$", "") + " ", min_size=1, max_size=12)
PROGRAMS = st.text(alphabet=string.ascii_letters + " '\"", min_size=1, max_size=8)
VARIABLES = st.text(alphabet=string.ascii_uppercase, min_size=1, max_size=5)
ARGUMENTS = st.lists(TEXT, min_size=0, max_size=4).flatmap(lambda rest: PROGRAMS.map(lambda first: [first, *rest]))
KEY_HASH = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
TOLERATIONS = ["debug-mode", "hyperthreading", "insecure-igpu", "outdated-tcb", "software-hardening-needed"]
POLICIES = ["rollback_protected", "ephemeral", "no_rollback_protection"]
OTP_SECRETS = st.binary(min_size=16, max_size=20).map(lambda raw: base64.b32encode(raw).decode())
DNS = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}", fullmatch=True)
FRAGMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
REFERENCE = "$$SCONE::fragment$$"

_KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(4)]
PRIVATE_KEYS = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() for key in _KEYS]
PUBLIC_KEYS = [key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in _KEYS]


def _without_none(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


def optional(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any subset of these keys."""
    return st.fixed_dictionaries({}, optional=parts)


@st.composite
def variants(draw: st.DrawFn) -> Any:
    """One attestation variant, now and then a reference."""
    if draw(st.integers(0, 9)) == 0:
        return REFERENCE
    measurements = draw(st.lists(HEX32, max_size=3, unique=True))
    signer = None
    if not measurements or draw(st.booleans()):
        signer = {"mrsigner": draw(HEX32), "isvprodid": draw(st.integers(0, 9)), "isvsvn_min": draw(st.integers(0, 9))}
    found = {"mrenclave": measurements[0] if len(measurements) == 1 else measurements or None, "signer": signer}
    # A copy: `just` and `sampled_from` hand out the same object every time, and tests change what they get.
    return copy.deepcopy(_without_none(found))


@st.composite
def services(draw: st.DrawFn, images: list[str]) -> dict[str, Any]:
    """One service without its name."""
    protected = draw(st.booleans())
    several = draw(st.lists(variants(), min_size=1, max_size=2))
    found = {
        "command": draw(st.none() | ARGUMENTS),
        "environment": draw(st.dictionaries(VARIABLES, TEXT, max_size=3)),
        "pwd": draw(st.none() | st.just("/app")),
        "image_name": draw(st.none() | st.sampled_from(images)) if images else None,
        "fspf_key": draw(HEX32) if protected else None,
        "fspf_tag": draw(HEX16) if protected else None,
        "attestation": several[0] if len(several) == 1 else several,
    }
    more = draw(
        optional(
            platforms=st.lists(HEX16.map(lambda key: f"INTEL_QE_ID:{key}") | HEX32 | st.just(REFERENCE), min_size=1),
            tags=st.lists(NAMES, min_size=1, max_size=2),
            one_time_password_shared_secret=OTP_SECRETS | st.just("$$SCONE::fragment$$"),
            fspf_update_policy=st.sampled_from(["rollback_protected_reinitializable", "no_rollback_protection"]),
        )
    )
    return _without_none(found | more)


EXPORTS = st.lists(
    st.one_of(
        NAMES.map(lambda name: {"session": name}),
        NAMES.map(lambda name: {"namespace": name}),
        st.just({"session": "../beside"}),
        st.tuples(NAMES, HEX32).map(lambda pair: {"session": pair[0], "session_hash": pair[1]}),
        st.tuples(NAMES, HEX32).map(lambda pair: {"namespace": pair[0], "session_hash": pair[1]}),
        st.tuples(NAMES, HEX32).map(lambda pair: {"session": f"/session={pair[0]},session_hash={pair[1]}"}),
    ),
    max_size=3,
)
IMPORTS = st.one_of(
    NAMES.map(lambda name: {"session": f"other/{name}", "secret": name}),
    st.tuples(NAMES, HEX32).map(lambda pair: {"session": pair[0], "session_hash": pair[1], "secret": "s"}),
    st.just({"session": f"cas.example:8081/cas_key={KEY_HASH},session=other", "secret": "s"}),
    HEX32.map(lambda key: {"session": "x", "secret": "s", "cas_url": "cas.example", "cas_software_key": key}),
)
CERTIFICATES = optional(
    common_name=PRINTABLE, valid_for=st.sampled_from(["90 days", "59d", "1 year"]), issuer=st.just("authority")
)
GENERATED = {
    "ascii": optional(size=st.integers(1, 64)),
    "binary": optional(size=st.integers(1, 64)),
    "private-key": optional(
        key_type=st.sampled_from(["P-256", "P-384", "Ed25519", "RSA-2048", "RSA-3072"]), migrate=st.booleans()
    ),
    "public-key": st.just({"private_key": "signing-key"}),
    "x509": st.tuples(
        CERTIFICATES,
        st.one_of(
            st.just({"endpoint": "client"}),
            optional(
                dns=st.lists(DNS, max_size=3),
                san=st.lists(DNS.map("dns:{}".format) | st.ip_addresses().map("ip:{}".format), max_size=2),
                endpoint=st.just("server"),
            ),
        ),
    ).map(lambda pair: {"private_key": "signing-key", **pair[0], **pair[1]}),
    "x509-ca": CERTIFICATES.map(lambda more: {"private_key": "signing-key", **more}),
    "aad-token": st.fixed_dictionaries(
        {
            "tenant_id": st.uuids().map(str),
            "client_id": st.uuids().map(str),
            "application_secret": PRINTABLE,
        }
    ),
    "pgp-key": st.just({}),
    "jwt": st.fixed_dictionaries(
        {
            "signer": st.just("signing-key"),
            "alg": st.just("ES384"),
            "validity": st.just({"for": "24h"}),
            "payload": st.dictionaries(VARIABLES, TEXT, min_size=1, max_size=2),
        }
    ),
    "config-fragment": FRAGMENTS.map(lambda value: {"value": value}),
}
GIVEN = {
    "ascii": PRINTABLE,
    "binary": HEX16,
    "private-key": st.sampled_from(PRIVATE_KEYS),
    "public-key": st.sampled_from(PUBLIC_KEYS),
}


@st.composite
def secrets(draw: st.DrawFn) -> dict[str, Any]:
    """One secret of any kind without its name."""
    kind = draw(st.sampled_from(sorted(GENERATED)))
    sort = draw(st.sampled_from(["generated", "given", "imported", "akv"]))
    found: dict[str, Any] = {"kind": kind}
    if sort == "imported":
        found["import"] = draw(IMPORTS)
    elif sort == "akv":
        found["import_akv"] = {"vault": "https://vault.example", "token": "t", "name": draw(NAMES)}
    elif sort == "given" and kind in GIVEN:
        found["value"] = draw(GIVEN[kind])
    else:
        found |= draw(GENERATED[kind])
    return found | draw(optional(export=EXPORTS, export_public=st.booleans()))


@st.composite
def images(draw: st.DrawFn, volumes: list[str]) -> dict[str, Any]:
    """One image without its name."""
    contents = st.fixed_dictionaries({"content": TEXT}, optional={"permission": st.sampled_from(["0o600", "0o644"])})
    paths = NAMES.map(lambda name: f"/etc/{name}")
    files = draw(st.dictionaries(paths, st.one_of(st.just({}), contents), max_size=3))
    found: dict[str, Any] = {"injection_files": [{"path": path, **file} for path, file in files.items()]}
    mounted: bool = draw(st.booleans())
    if volumes and mounted:
        found["volumes"] = [{"path": "/data", "name": draw(st.sampled_from(volumes))}]
        found["volumes"][0] |= draw(optional(update_policy=st.sampled_from(POLICIES)))
    return found | draw(optional(provide_secrets=st.sampled_from([[], ["fragment"]])))


@st.composite
def volumes(draw: st.DrawFn) -> dict[str, Any]:
    """One volume without its name."""
    found = draw(
        optional(files=st.sampled_from(["encrypted", "authenticated-only"]), update_policy=st.sampled_from(POLICIES))
    )
    sort = draw(st.sampled_from(["made", "given", "imported"]))
    if sort == "imported":
        return {**found, "import": {"session": "other", "volume": draw(NAMES)}}
    if sort == "given":
        found |= {"fspf_key": draw(HEX32), "fspf_tag": draw(HEX16)}
    to = st.one_of(st.just({"session": "a"}), NAMES.map(lambda name: {"session": name}), HEX32.map(_hashed_receiver))
    long = st.tuples(to, optional(update_policy=st.sampled_from(POLICIES), volume_alias=NAMES)).map(
        lambda pair: {"to": pair[0], **pair[1]}
    )
    return {**found, "export": draw(st.lists(long | NAMES.map(lambda name: {"session": name}), max_size=3))}


def _hashed_receiver(session_hash: str) -> dict[str, str]:
    return {"session": "a", "session_hash": session_hash}


ENTRIES = st.one_of(
    st.just(["ANY"]),
    st.just(["NONE"]),
    st.lists(st.sampled_from(["CREATOR", KEY_HASH, REFERENCE]), min_size=1, unique=True),
)
SIGNERS = st.sampled_from(PUBLIC_KEYS).map(lambda key: {"signer": key})
RULES = st.recursive(
    SIGNERS | st.sampled_from(["CREATOR", KEY_HASH]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda entries: {"require-all": entries})
        | st.lists(inner, min_size=1, max_size=3).map(lambda entries: {"require-at-least-1": entries})
    ),
    max_leaves=4,
)
WRITERS = ENTRIES | st.lists(RULES, min_size=1, max_size=2)
SWITCHES = st.booleans() | st.just(REFERENCE)
ATTESTATION = optional(
    tolerate=st.lists(st.sampled_from([*TOLERATIONS, REFERENCE]), unique=True),
    ignore_advisories=st.sampled_from(["*", [], ["INTEL-SA-00586", "INTEL-SA-00614"]]),
    one_time_password_shared_secret=OTP_SECRETS,
    must_be_sgx_local=SWITCHES,
    trusted_scone_qe_pubkeys=st.lists(HEX32 | st.sampled_from(PUBLIC_KEYS), min_size=1, max_size=2),
)


@st.composite
def wire_sessions(draw: st.DrawFn) -> dict[str, Any]:
    """A session as plain data in wire shape: lists of maps with names."""
    names = st.lists(NAMES, max_size=2, unique=True)
    image_names, volume_names = draw(names), draw(names)
    secret_names = [name for name in draw(names) if name not in ("fragment", "signing-key", "authority", "t")]
    helpers = [
        {"name": "fragment", "kind": "config-fragment", "import": {"session": "other", "secret": "fragment"}},
        {"name": "signing-key", "kind": "private-key", "key_type": "P-384"},
        {"name": "authority", "kind": "x509-ca", "private_key": "signing-key"},
        {"name": "t", "kind": "aad-token", "import": {"session": "other", "secret": "t"}},
    ]
    security = draw(optional(singleton_enclaves=SWITCHES, service_access_token=PRINTABLE))
    security["attestation"] = draw(ATTESTATION | st.just(REFERENCE))
    found: dict[str, Any] = {
        "name": f"{draw(NAMES)}/{draw(NAMES)}",
        "version": draw(st.sampled_from(["0.3", "0.3.12"])),
        "salt": draw(st.none() | HEX16),
        "namespace_hash": draw(st.none() | HEX32),
        "services": [{"name": name, **draw(services(image_names))} for name in draw(names)],
        "images": [{"name": name, **draw(images(volume_names))} for name in image_names],
        "volumes": [{"name": name, **draw(volumes())} for name in volume_names],
        "secrets": [*helpers, *({"name": name, **draw(secrets())} for name in secret_names)],
        "access_policy": draw(
            optional(read=ENTRIES, update=WRITERS, create_sessions=WRITERS, list_sessions=ENTRIES) | st.just(REFERENCE)
        ),
        "security": draw(st.just(security) | st.just(security) | st.just(REFERENCE)),
    }
    # A copy: `just` and `sampled_from` hand out the same object every time, and tests change what they get.
    return copy.deepcopy(_without_none(found))
