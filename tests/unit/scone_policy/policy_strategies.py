"""Generated sessions, valid by construction, in canonical or wire shape."""

import string
from typing import Any

from hypothesis import strategies as st

NAMES = st.text(alphabet=string.ascii_letters + string.digits + "_-~", min_size=1, max_size=8)
HEX32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
HEX16 = st.binary(min_size=16, max_size=16).map(bytes.hex)
TEXT = st.text(alphabet=st.characters(exclude_characters="\x00$", exclude_categories=["Cs"]), max_size=20)
PROGRAMS = st.text(alphabet=string.ascii_letters + " '\"", min_size=1, max_size=8)
VARIABLES = st.text(alphabet=string.ascii_uppercase, min_size=1, max_size=5)
ARGUMENTS = st.lists(TEXT, min_size=0, max_size=4).flatmap(lambda rest: PROGRAMS.map(lambda first: [first, *rest]))
KEY_HASH = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
TOLERATIONS = ["debug-mode", "hyperthreading", "insecure-igpu", "outdated-tcb", "software-hardening-needed"]


def _without_none(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


@st.composite
def variants(draw: st.DrawFn) -> dict[str, Any]:
    measurements = draw(st.lists(HEX32, max_size=3, unique=True))
    signer = None
    if not measurements or draw(st.booleans()):
        signer = {"mrsigner": draw(HEX32), "isvprodid": draw(st.integers(0, 9)), "isvsvn_min": draw(st.integers(0, 9))}
    found = {"mrenclave": measurements[0] if len(measurements) == 1 else measurements or None, "signer": signer}
    return _without_none(found)


@st.composite
def services(draw: st.DrawFn, images: list[str]) -> dict[str, Any]:
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
    return _without_none(found)


@st.composite
def secrets(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["ascii", "binary"]))
    sort = draw(st.sampled_from(["generated", "given", "imported"]))
    found: dict[str, Any] = {"kind": kind}
    if sort == "generated":
        found["size"] = draw(st.integers(1, 64))
    elif sort == "given":
        printable = st.text(alphabet=string.ascii_letters + string.punctuation + " ", min_size=1, max_size=12)
        found["value"] = draw(printable if kind == "ascii" else HEX16)
    else:
        found["import"] = {"session": f"other/{draw(NAMES)}", "secret": draw(NAMES)}
    found["export"] = draw(
        st.lists(
            st.one_of(
                NAMES.map(lambda name: {"session": name}),
                NAMES.map(lambda name: {"namespace": name}),
                st.tuples(NAMES, HEX32).map(lambda pair: {"session": pair[0], "session_hash": pair[1]}),
            ),
            max_size=3,
        )
    )
    found["export_public"] = draw(st.booleans())
    return found


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    contents = st.fixed_dictionaries({"content": TEXT}, optional={"permission": st.sampled_from(["0o600", "0o644"])})
    paths = NAMES.map(lambda name: f"/etc/{name}")
    files = draw(st.dictionaries(paths, st.one_of(st.just({}), contents), max_size=3))
    return {"injection_files": [{"path": path, **file} for path, file in files.items()]}


ENTRIES = st.one_of(
    st.just(["ANY"]), st.just(["NONE"]), st.lists(st.sampled_from(["CREATOR", KEY_HASH]), min_size=1, unique=True)
)


@st.composite
def wire_sessions(draw: st.DrawFn) -> dict[str, Any]:
    """A session as plain data in wire shape: lists of maps with names."""
    names = st.lists(NAMES, max_size=3, unique=True)
    image_names = draw(names)
    found: dict[str, Any] = {
        "name": f"{draw(NAMES)}/{draw(NAMES)}",
        "version": draw(st.sampled_from(["0.3", "0.3.6", "0.3.10", "0.3.12"])),
        "salt": draw(st.none() | HEX16),
        "services": [{"name": name, **draw(services(image_names))} for name in draw(names)],
        "images": [{"name": name, **draw(images())} for name in image_names],
        "secrets": [{"name": name, **draw(secrets())} for name in draw(names)],
        "access_policy": draw(
            st.fixed_dictionaries(
                {}, optional=dict.fromkeys(["read", "update", "create_sessions", "list_sessions"], ENTRIES)
            )
        ),
        "security": {
            "attestation": {
                "tolerate": draw(st.lists(st.sampled_from(TOLERATIONS), unique=True)),
                "ignore_advisories": draw(st.sampled_from(["*", [], ["INTEL-SA-00586", "INTEL-SA-00614"]])),
            }
        },
    }
    return _without_none(found)
