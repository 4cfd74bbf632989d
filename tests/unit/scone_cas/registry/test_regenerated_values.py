"""What an update is said to make anew is what this CAS makes anew: no value changes unsaid, none is said in vain."""

import base64
import itertools
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import scone_policy
from scone_policy.diff.regeneration import Effect, changes_values, renewals
from support.enclave_side import EnclaveSide
from support.software_enclave import MEASUREMENT

FORMS = {
    "ascii": "",
    "binary": ":hex",
    "private-key": ":der",
    "public-key": ":spki:der",
    "x509": ":crt:der",
    "x509-ca": ":crt:der",
    "pgp-key": ":privatekey:binary",
}
KINDS = {"word": "ascii", "key": "private-key", "root": "x509-ca"}
EXPORTER = {
    "name": "owner",
    "version": "0.3.12",
    "secrets": {
        name: {"kind": kind, "export": {"namespace": "/"}, **({"private_key": "key"} if kind == "x509-ca" else {})}
        for name, kind in KINDS.items()
    },
}
NUMBERS = itertools.count()
PHASES = (Phase.explicit, Phase.generate)

imported = {name: {"kind": kind, "import": {"session": "owner", "secret": name}} for name, kind in KINDS.items()}
texts = st.one_of(
    st.builds(lambda size: {"kind": "ascii", "size": size}, st.sampled_from([8, 9])),
    st.builds(lambda size: {"kind": "binary", "size": size}, st.sampled_from([8, 9])),
    st.just({"kind": "ascii", "value": "given"}),
    st.just({"kind": "pgp-key"}),
    st.just(imported["word"]),
)
private_keys = st.one_of(
    st.builds(
        lambda migrate, kind: {"kind": "private-key", **({"migrate": True} if migrate else {}), **kind},
        st.booleans(),
        st.sampled_from([{}, {"key_type": "P-256"}, {"key_type": "Ed25519"}]),
    ),
    st.just(imported["key"]),
)
authorities = st.one_of(
    st.builds(
        lambda key, more: {"kind": "x509-ca", "private_key": key, **more},
        st.sampled_from(["key", "other"]),
        st.sampled_from([{}, {"common_name": "Root"}]),
    ),
    st.just(imported["root"]),
)
leaves = st.builds(
    lambda key, issuer, more: {"kind": "x509", "private_key": key, **issuer, **more},
    st.sampled_from(["other", "$$SCONE::other$$"]),
    st.sampled_from([{}, {"issuer": "ca"}]),
    st.sampled_from([{}, {"dns": ["a.example"]}, {"export_public": True}]),
)
halves = st.builds(lambda key: {"kind": "public-key", "private_key": key}, st.sampled_from(["key", "other"]))
sessions = st.fixed_dictionaries(
    {"key": private_keys, "other": private_keys},
    optional={"text": texts, "second": texts, "ca": authorities, "cert": leaves, "half": halves},
)
volumes = st.sampled_from(
    [{}, {"db": {}}, {"db": {"fspf_key": "0d" * 32, "fspf_tag": "a" * 32}}, {"db": {"update_policy": "ephemeral"}}]
)


class World:
    """One CAS with an exporter, and a session of its own for each example."""

    def __init__(self, cas, owner) -> None:
        self.cas, self.owner, self.side = cas, owner, EnclaveSide(cas)
        self.upload(scone_policy.parse(EXPORTER))

    def upload(self, session: scone_policy.Session) -> None:
        """On top of what is there."""
        before = self.cas.sessions.live(session.name)
        self.cas.upload(session.wire(predecessor=before.hash if before else None), self.owner)

    def values(self, session: scone_policy.Session) -> dict[str, object]:
        """Name of a secret, or `/` and that of a volume → what the attested service receives."""
        status, found = self.side.attest(f"{session.name}/main", accepts=["volumes"])
        assert status == 200, found
        files = {file["path"][1:]: base64.b64decode(file["content"]) for file in found["files"]}
        return files | {volume["path"]: volume["key"] for volume in found["volumes"]}


def session(name: str, secrets: dict[str, Any], held: dict[str, Any]) -> scone_policy.Session:
    """A session whose service receives all of it. An issuer that it does not have is left out."""
    secrets = {key: _without_issuer(one) if "ca" not in secrets else one for key, one in secrets.items()}
    files = [{"path": f"/{key}", "content": f"$$SCONE::{key}{FORMS[one['kind']]}$$"} for key, one in secrets.items()]
    return scone_policy.parse(
        {
            "name": name,
            "version": "0.3.12",
            "secrets": secrets,
            "volumes": held,
            "services": {"main": {"command": "prog", "attestation": {"mrenclave": MEASUREMENT}, "image_name": "i"}},
            "images": {
                "i": {"injection_files": files, "volumes": [{"name": each, "path": f"/{each}/"} for each in held]}
            },
            "security": {"attestation": {"tolerate": ["debug-mode"]}},
        }
    )


def _without_issuer(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "issuer"}


def lost(old: scone_policy.Session, new: scone_policy.Session) -> dict[str, Effect]:
    """What the function says, under the names of `World.values`."""
    found = renewals(old.canonical(), new.canonical())
    return {one.name if one.section == "secrets" else f"/{one.name}/": one.effect for one in found}


def generated(one: scone_policy.Session) -> set[str]:
    """The names of what CAS makes in a session."""
    made = {name for name, secret in one.secrets.items() if secret.is_generated}
    return made | {f"/{name}/" for name, volume in one.volumes.items() if volume.fspf_key is None}


def differing(first: dict[str, object], second: dict[str, object]) -> set[str]:
    """The names of what is in both and not the same."""
    return {key for key in first.keys() & second.keys() if first[key] != second[key]}


plain = {"kind": "private-key"}
migrated = {"kind": "private-key", "migrate": True}


def test_what_is_said_is_what_changes(cas, person) -> None:
    """Any version over any other, and back again: values that were said to end have ended, all others are the same."""
    world = World(cas, person("ann"))

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(sessions, sessions, volumes, volumes)
    @example({"key": plain, "other": plain}, {"key": migrated, "other": plain}, {}, {})
    @example({"key": migrated, "other": plain}, {"key": migrated, "other": plain}, {}, {})
    @example({"key": migrated, "other": migrated}, {"key": plain, "other": migrated}, {"db": {}}, {})
    def compare(before: dict[str, Any], after: dict[str, Any], held: dict[str, Any], kept: dict[str, Any]) -> None:
        name = f"app-{next(NUMBERS)}"
        old, new = session(name, before, held), session(name, after, kept)
        world.upload(old)
        first = world.values(old)
        world.upload(new)
        second, said = world.values(new), lost(old, new)
        assert differing(first, second) & (generated(old) | generated(new)) == said.keys() & second.keys()
        world.upload(old)
        gone, stored = said.keys() | lost(new, old).keys(), generated(old) - {"half"}  # which follows from its key
        assert differing(first, world.values(old)) & stored == gone & stored
        reissued = {key for key, effect in said.items() if effect is Effect.REISSUED}
        assert changes_values(old.canonical(), new.canonical()) >= bool(differing(first, second) - reissued)

    compare()


def test_the_same_policy_again(cas, person) -> None:
    """Uploaded once more, a policy loses its private keys without `migrate` and what hangs on them, nothing else."""
    world = World(cas, person("ann"))
    secrets = {
        "key": plain,
        "other": migrated,
        "text": {"kind": "ascii"},
        "ca": {"kind": "x509-ca", "private_key": "other"},
        "cert": {"kind": "x509", "private_key": "key", "issuer": "ca"},
        "half": {"kind": "public-key", "private_key": "key"},
    }
    one = session("same", secrets, {"db": {}})
    world.upload(one)
    first = world.values(one)
    world.upload(one)
    second = world.values(one)
    assert {key for key in first if first[key] != second[key]} == {"key", "ca", "cert", "half"}
    assert lost(one, one) == {"key": "anew", "ca": "reissued", "cert": "anew", "half": "anew"}
