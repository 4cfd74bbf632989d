"""Differences between policies: each edit is one change at its path, with its direction of trust, without secrets."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scone_policy import PolicyError, parse, retired
from scone_policy.diff.compare import Trust, compare
from scone_policy.keys.key_hash import encode_key_hash
from scone_policy.syntax.holes import Holes
from support.policy_strategies import KEY_HASH, PRIVATE_KEYS, PUBLIC_KEYS, wire_sessions

HEX, OTHER = "ab" * 32, "cd" * 32


def policy(**changes: Any) -> dict[str, Any]:
    """A canonical session with one service and one secret, its parts replaced by dotted path."""
    data: dict[str, Any] = {
        "name": "app/api",
        "version": "0.3.10",
        "services": {"api": {"command": "run", "environment": {"A": "1"}, "attestation": {"mrenclave": HEX}}},
        "secrets": {"s": {"kind": "ascii", "size": 10}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = data
        for step in parents:
            node = node.setdefault(step, {})
        if value is None:
            node.pop(last)
        else:
            node[last] = value
    return parse(data).canonical()


CASES = [
    ({"services__api__command": "run fast"}, "services.api.command", Trust.CHANGES, "arguments"),
    ({"services__api__environment": {"A": "2"}}, "services.api.environment.A", Trust.CHANGES, "replaced"),
    ({"services__api__environment": {"A": "1", "B": "2"}}, "services.api.environment.B", Trust.CHANGES, "added"),
    ({"services__api__environment": None}, "services.api.environment.A", Trust.CHANGES, "removed"),
    (
        {"services__api__attestation": {"mrenclave": [HEX, OTHER]}},
        "services.api.attestation.mrenclave",
        Trust.WIDENS,
        "measurement added: an additional program is trusted",
    ),
    (
        {"services__api__attestation": {"mrenclave": OTHER}},
        "services.api.attestation.mrenclave",
        Trust.CHANGES,
        "another program",
    ),
    (
        {"services__api__attestation": [{"mrenclave": HEX}, {"signer": {"mrsigner": OTHER}}]},
        "services.api.attestation.signer",
        Trust.WIDENS,
        "signer added",
    ),
    ({"services__b": {"attestation": {"mrenclave": HEX}}}, "services.b", Trust.WIDENS, "one more program"),
    ({"services": None}, "services.api", Trust.NARROWS, "removed"),
    ({"secrets__s__size": 12}, "secrets.s.size", Trust.CHANGES, "generates a new value"),
    ({"secrets__s__kind": "binary"}, "secrets.s.kind", Trust.CHANGES, "generates a new value"),
    ({"secrets__s__export": {"session": "b"}}, "secrets.s.export.b", Trust.WIDENS, "receives"),
    (
        {"secrets__s__export": {"namespace": "b"}},
        "secrets.s.export.b",
        Trust.WIDENS,
        "every session in the namespace b",
    ),
    ({"secrets__s__export_public": True}, "secrets.s.export_public", Trust.WIDENS, "everyone"),
    ({"secrets__t": {"kind": "ascii"}}, "secrets.t", Trust.CHANGES, "added"),
    ({"secrets": None}, "secrets.s", Trust.CHANGES, "CAS forgets"),
    ({"access_policy__read": ["ANY"]}, "access_policy.read", Trust.WIDENS, "everyone may read"),
    ({"access_policy__update": ["NONE"]}, "access_policy.update", Trust.NARROWS, "nobody may replace"),
    ({"access_policy__read": ["CREATOR", KEY_HASH]}, "access_policy.read", Trust.WIDENS, KEY_HASH),
    ({"access_policy__read": [KEY_HASH]}, "access_policy.read", Trust.CHANGES, KEY_HASH),
    ({"access_policy__create_sessions": ["NONE"]}, "access_policy.create_sessions", Trust.NARROWS, "nobody"),
    (
        {"security__attestation__tolerate": ["debug-mode"]},
        "security.attestation.tolerate.debug-mode",
        Trust.WIDENS,
        "put up with",
    ),
    ({"security__attestation__ignore_advisories": "*"}, "security.attestation.ignore_advisories.*", Trust.WIDENS, "*"),
    ({"security__attestation__mode": "none"}, "security.attestation.mode", Trust.WIDENS, "any program"),
    ({"images__i__injection_files": {"/a": {"content": "x"}}}, "images.i", Trust.CHANGES, "added"),
    ({"version": "0.3.11"}, "version", Trust.CHANGES, "replaced"),
]


@pytest.mark.parametrize(("edit", "path", "trust", "words"), CASES, ids=[f"{case[1]} {case[3]}" for case in CASES])
def test_one_edit_is_one_change(edit: dict[str, Any], path: str, trust: Trust, words: str) -> None:
    """Each edit shows as exactly its path, with the direction of trust in one word and in a sentence."""
    (change,) = compare(policy(), policy(**edit))
    assert (change.path, change.trust) == (path, trust)
    assert words in change.meaning
    assert change.path in str(change)


SIGNED = {"mrsigner": OTHER, "isvprodid": 1, "isvsvn_min": 5}
VARIANT = {"mrenclave": HEX, "signer": SIGNED}
ATTESTED: list[tuple[Any, Any, str, Trust, str]] = [
    ({"signer": SIGNED}, {"signer": {**SIGNED, "isvsvn_min": 2}}, "signer.isvsvn_min", Trust.WIDENS, "more versions"),
    ({"signer": SIGNED}, {"signer": {**SIGNED, "isvsvn_max": 9}}, "signer.isvsvn_max", Trust.NARROWS, "fewer versions"),
    ({"signer": SIGNED}, {"signer": {**SIGNED, "isvprodid": 2}}, "signer.isvprodid", Trust.CHANGES, "another product"),
    (
        {"signer": {"mrsigner": OTHER}},
        {"signer": {"mrsigner": OTHER, "isvprodid": 2}},
        "signer.isvprodid",
        Trust.NARROWS,
        "only this product",
    ),
    (
        {"signer": {"mrsigner": OTHER}},
        {"signer": {"mrsigner": OTHER, "isvsvn_min": "$$SCONE::s$$"}},
        "signer.isvsvn_min",
        Trust.NARROWS,
        "fewer versions",
    ),
    ({"signer": SIGNED}, {"signer": {**SIGNED, "mrsigner": HEX}}, "signer.mrsigner", Trust.CHANGES, "another one"),
    ({"mrenclave": HEX}, VARIANT, "signer", Trust.NARROWS, "demanded too"),
    ({"signer": SIGNED}, VARIANT, "mrenclave", Trust.NARROWS, "only this program"),
    (VARIANT, {**VARIANT, "mrenclave": OTHER}, "mrenclave", Trust.CHANGES, "another program"),
    (VARIANT, {**VARIANT, "mrenclave": [HEX, OTHER]}, "mrenclave", Trust.WIDENS, "additional program"),
    (
        [{"mrenclave": HEX}, {"signer": SIGNED}],
        [{"mrenclave": HEX}, {"signer": {**SIGNED, "isvsvn_min": 2}}],
        "signer.isvsvn_min",
        Trust.WIDENS,
        "more versions",
    ),
    (
        [{"mrenclave": HEX}, {"signer": SIGNED}, {"signer": {"mrsigner": HEX}}],
        [{"mrenclave": HEX}, {"signer": SIGNED}, {"signer": {"mrsigner": HEX, "isvprodid": 3}}],
        "signer.isvprodid",
        Trust.NARROWS,
        "only this product",
    ),
]


@pytest.mark.parametrize(("before", "after", "path", "trust", "words"), ATTESTED)
def test_attestation_is_judged_part_by_part(before: Any, after: Any, path: str, trust: Trust, words: str) -> None:
    """An edit within a variant shows at its key, with whether it lets in more or fewer; so does the way back."""
    old, new = (policy(services__api__attestation=side) for side in (before, after))
    (change,) = compare(old, new)
    assert (change.path, change.trust) == (f"services.api.attestation.{path}", trust)
    assert words in change.meaning
    (back,) = compare(new, old)
    assert (back.path, back.trust) == (change.path, OPPOSITE[trust])


def test_versions_are_judged_as_a_range() -> None:
    """One version instead of a range that holds it narrows, whatever came and went on paper."""
    ranged, exact, same = (
        policy(services__api__attestation={"signer": {"mrsigner": OTHER, **versions}})
        for versions in ({"isvsvn_min": 2}, {"isvsvn": 3}, {"isvsvn_min": 3, "isvsvn_max": 3})
    )
    assert {change.trust for change in compare(ranged, exact)} == {Trust.NARROWS}
    assert {change.trust for change in compare(exact, ranged)} == {Trust.WIDENS}
    assert {change.meaning for change in compare(exact, same)} == {"the same versions as before, in other words"}


FREE = "no_rollback_protection"
LIMITS: list[tuple[dict[str, Any], dict[str, Any], str, Trust]] = [
    (
        {},
        {"security__attestation__trusted_scone_qe_pubkeys": [HEX]},
        "security.attestation.trusted_scone_qe_pubkeys",
        Trust.NARROWS,
    ),
    (
        {"security__attestation__trusted_scone_qe_pubkeys": [HEX]},
        {"security__attestation__trusted_scone_qe_pubkeys": [HEX, OTHER]},
        f"security.attestation.trusted_scone_qe_pubkeys.{OTHER}",
        Trust.WIDENS,
    ),
    ({}, {"services__api__platforms": [HEX]}, "services.api.platforms", Trust.NARROWS),
    (
        {"services__api__platforms": [HEX]},
        {"services__api__platforms": [HEX, OTHER]},
        f"services.api.platforms.{OTHER}",
        Trust.WIDENS,
    ),
    ({"volumes__v": {}}, {"volumes__v": {"update_policy": FREE}}, "volumes.v.update_policy", Trust.WIDENS),
    (
        {"volumes__v": {"update_policy": "ephemeral"}},
        {"volumes__v": {"update_policy": FREE}},
        "volumes.v.update_policy",
        Trust.WIDENS,
    ),
    ({"volumes__v": {}}, {"volumes__v": {"update_policy": "ephemeral"}}, "volumes.v.update_policy", Trust.CHANGES),
    (
        {"volumes__v": {"export": {"session": "b"}}},
        {"volumes__v": {"export": {"to": {"session": "b"}, "update_policy": FREE}}},
        "volumes.v.export.b.update_policy",
        Trust.WIDENS,
    ),
    (
        {"volumes__v": {"export": {"session": "b"}}},
        {"volumes__v": {"export": {"to": {"session": "b", "session_hash": HEX}}}},
        "volumes.v.export.b.session_hash",
        Trust.NARROWS,
    ),
]


@pytest.mark.parametrize(("before", "after", "path", "trust"), LIMITS)
def test_limits_and_update_policies(before: dict[str, Any], after: dict[str, Any], path: str, trust: Trust) -> None:
    """No list is no limit, older files are more than the newest ones; the way back is the opposite."""
    old, new = policy(**before), policy(**after)
    (change,) = compare(old, new)
    assert (change.path, change.trust) == (path, trust)
    (back,) = compare(new, old)
    assert (back.path, back.trust) == (path, OPPOSITE[trust])


@pytest.mark.parametrize(
    ("volume", "before", "after", "trust"),
    [
        (None, None, FREE, Trust.WIDENS),
        (FREE, None, "rollback_protected", Trust.NARROWS),
        (FREE, None, FREE, Trust.CHANGES),
        (None, None, "rollback_protected", Trust.CHANGES),
        (FREE, "rollback_protected", None, Trust.WIDENS),
    ],
)
def test_mounts_are_judged_with_their_volume(
    volume: str | None, before: str | None, after: str | None, trust: Trust
) -> None:
    """What a mount leaves open is what its volume says."""

    def mounted(own: str | None) -> dict[str, Any]:
        mount = {"/v": {"name": "v", "update_policy": own}}
        return policy(volumes__v={"update_policy": volume}, images__i={"volumes": mount, "injection_files": ["/a"]})

    (change,) = compare(mounted(before), mounted(after))
    assert (change.path, change.trust) == ("images.i.volumes./v.update_policy", trust)


A, B, C = ({"signer": key} for key in PUBLIC_KEYS[:3])
TWO = {"require-at-least-2": [A, B, C]}
RIGHTS = [
    ([TWO], [{"require-at-least-1": [A, B, C]}], Trust.WIDENS, "fewer need to agree"),
    ([{"require-all": [A, B, C]}], [TWO], Trust.WIDENS, "fewer need to agree"),
    ([{"require-all": [A, B]}], [A], Trust.WIDENS, "fewer need to agree"),
    ([{"require-all": [A, B]}], [TWO], Trust.WIDENS, "fewer need to agree"),
    ([{"require-all": [A, TWO]}], [TWO], Trust.WIDENS, "fewer need to agree"),
    ([{"require-all": [A, {"require-all": [B, C]}]}], [{"require-all": [A, B]}], Trust.WIDENS, "fewer need to agree"),
    ([{"require-at-least-2": [A, B]}], [TWO], Trust.WIDENS, "fewer need to agree"),
    ([TWO], ["CREATOR", TWO], Trust.WIDENS, "CREATOR may replace the policy too"),
    ([A], [A, B], Trust.WIDENS, "signer"),
    ([TWO], ["ANY"], Trust.WIDENS, "everyone"),
    (["NONE"], [TWO], Trust.WIDENS, "require-at-least-2 of (signer"),
    ([{"require-at-least-1": [A, B]}], [A, B], Trust.CHANGES, "the same as before, in other words"),
    ([{"require-all": [A, B]}], [{"require-all": [A, C]}], Trust.CHANGES, "require-all"),
    ([A], [{"signer": "$$SCONE::key$$"}], Trust.CHANGES, "signer $$SCONE::key$$"),
    ([KEY_HASH], ["$$SCONE::key$$"], Trust.CHANGES, "$$SCONE::key$$"),
]


@pytest.mark.parametrize("right", ["update", "create_sessions"])
@pytest.mark.parametrize(("before", "after", "trust", "words"), RIGHTS)
def test_governance_is_judged_by_whom_it_lets_in(
    right: str, before: list[Any], after: list[Any], trust: Trust, words: str
) -> None:
    """Rules widen when fewer need to agree, and narrow on the way back, however they are written."""
    key = {"secrets__key": {"kind": "ascii", "value": KEY_HASH}}
    old, new = (policy(**key, access_policy={right: entries}) for entries in (before, after))
    (change,) = compare(old, new)
    assert (change.path, change.trust) == (f"access_policy.{right}", trust)
    assert words.replace(
        "replace the policy", "create policies below it" if right != "update" else "replace the policy"
    ) in (change.meaning)
    (back,) = compare(new, old)
    assert back.trust == OPPOSITE[trust]


def test_big_rules_are_not_tried_out() -> None:
    """Rules over many keys change in a direction that is not claimed; a subset is still told."""
    keys = [encode_key_hash(bytes([number] * 32)) for number in range(14)]
    old, new, more = (
        policy(access_policy={"update": entries})
        for entries in (
            [{"require-at-least-2": keys}],
            [{"require-at-least-1": keys}],
            [{"require-at-least-2": keys}, "CREATOR"],
        )
    )
    assert compare(old, new)[0].trust is Trust.CHANGES
    assert compare(old, more)[0].trust is Trust.WIDENS


def test_listing_follows_reading() -> None:
    """`list_sessions` is compared with what it was by default, and said for itself."""
    newest = {"version": "0.3.12"}
    (change,) = compare(policy(**newest), policy(**newest, access_policy={"list_sessions": ["ANY"]}))
    assert (change.path, change.trust) == ("access_policy.list_sessions", Trust.WIDENS)
    assert change.meaning == "everyone may list the policies below it"
    (change,) = compare(policy(**newest), policy(**newest, access_policy={"list_sessions": [KEY_HASH]}))
    assert change.trust is Trust.CHANGES


def test_salt_makes_the_hash_public() -> None:
    """A salt lets anyone know the hash, for good: taking it out does not take that back."""
    salted, other = (policy(version="0.3.12", salt=salt * 16) for salt in ("ab", "cd"))
    plain = policy(version="0.3.12")
    assert [change.trust for change in compare(plain, salted)] == [Trust.WIDENS]
    for pair in ((salted, plain), (salted, other)):
        (change,) = compare(*pair)
        assert (change.path, change.trust, change.meaning) == ("salt", Trust.CHANGES, "the policy's hash stays public")


OPPOSITE = {Trust.WIDENS: Trust.NARROWS, Trust.NARROWS: Trust.WIDENS, Trust.CHANGES: Trust.CHANGES}


@pytest.mark.parametrize(("edit", "path", "trust", "words"), CASES, ids=[f"{case[1]} {case[3]}" for case in CASES])
def test_the_way_back_has_the_opposite_direction(edit: dict[str, Any], path: str, trust: Trust, words: str) -> None:
    """Undoing what widens trust narrows it."""
    (change,) = compare(policy(**edit), policy())
    assert (change.path, change.trust) == (path, OPPOSITE[trust]), words


SHARED: list[tuple[dict[str, Any], dict[str, Any], str, Trust, str]] = [
    ({"export": [{"session": "b", "session_hash": HEX}]}, {"export": {"session": "b"}}, "b", Trust.WIDENS, "more"),
    ({"export": {"session": "b"}}, {"export": {"namespace": "b"}}, "b", Trust.WIDENS, "more sessions"),
    (
        {"export": {"session": "b", "session_hash": HEX}},
        {"export": {"session": "b", "session_hash": OTHER}},
        "b",
        Trust.CHANGES,
        "other sessions or versions",
    ),
    (
        {"export": {"session": "b", "session_hash": HEX}},
        {"export": [{"session": "b", "session_hash": HEX}, {"session": "b", "session_hash": OTHER}]},
        "b",
        Trust.WIDENS,
        "more",
    ),
    ({"export": {"session": "b"}}, {"export": {"namespace": "b", "session_hash": HEX}}, "b", Trust.CHANGES, "other"),
]


@pytest.mark.parametrize(("before", "after", "receiver", "trust", "words"), SHARED)
def test_exports_widen_and_narrow(before, after, receiver: str, trust: Trust, words: str) -> None:
    """A name alone is more than versions of it, a namespace more than its own session; the way back is the opposite."""
    old, new = (policy(secrets={"s": {"kind": "ascii", **side}}) for side in (before, after))
    (change,) = compare(old, new)
    assert (change.path, change.trust) == (f"secrets.s.export.{receiver}", trust)
    assert words in change.meaning
    (back,) = compare(new, old)
    assert back.trust == OPPOSITE[trust]


HERE = {"session": "o", "secret": "x"}
THERE = {**HERE, "cas_url": "cas:8081", "cas_key": HEX}
IMPORTED: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, Trust, str]]]] = [
    (HERE, {**HERE, "session_hash": HEX}, [("session_hash", Trust.NARROWS, "only this version")]),
    ({**HERE, "session_hash": HEX}, HERE, [("session_hash", Trust.WIDENS, "whoever updates the exporter")]),
    (THERE, {**THERE, "cas_key": OTHER}, [("cas_key", Trust.CHANGES, "another CAS is trusted")]),
    (THERE, {**THERE, "cas_url": "else"}, [("cas_url", Trust.CHANGES, "another address")]),
    (HERE, {**HERE, "session": "p"}, [("session", Trust.CHANGES, "another session decides")]),
    (HERE, {**HERE, "secret": "y"}, [("secret", Trust.CHANGES, "another secret")]),
    (
        HERE,
        THERE,
        [("cas_key", Trust.CHANGES, "another CAS"), ("cas_url", Trust.CHANGES, "a session of another CAS decides")],
    ),
    (
        THERE,
        {**HERE, "cas_url": "cas:8081", "cas_software_key": HEX},
        [("cas_key", Trust.CHANGES, "no longer"), ("cas_software_key", Trust.CHANGES, "every CAS that runs")],
    ),
]


@pytest.mark.parametrize(("before", "after", "expected"), IMPORTED)
def test_imports_say_who_decides(before, after, expected: list[tuple[str, Trust, str]]) -> None:
    """A changed import shows by key, and says who decides the value from now on."""
    old, new = (policy(secrets={"s": {"kind": "ascii", "import": side}}) for side in (before, after))
    found = compare(old, new)
    assert [(change.path.rpartition(".")[2], change.trust) for change in found] == [
        (key, trust) for key, trust, _ in expected
    ]
    assert all(words in change.meaning for change, (_, _, words) in zip(found, expected, strict=True))


def test_import_instead_of_a_value() -> None:
    """That a secret is imported from now on, or not any more, is one change with its meaning."""
    made, taken = (policy(secrets={"s": side}) for side in ({"kind": "ascii"}, {"kind": "ascii", "import": HERE}))
    meanings = [{change.path: change.meaning for change in compare(*pair)} for pair in ((made, taken), (taken, made))]
    assert meanings[0]["secrets.s.import"] == "another session decides the value"
    assert meanings[1]["secrets.s.import"] == "made here: no other session decides the value"


def test_secret_values_are_never_shown() -> None:
    """A changed, added or removed explicit value, and a file-system key, show as [secret]."""
    generated, given_, other = (policy(secrets={"s": one}) for one in _SECRETS)
    texts = [
        str(change) for pair in ((generated, given_), (given_, other), (given_, policy())) for change in compare(*pair)
    ]
    texts += [str(change) for change in compare({}, given_)]
    keyed = policy(services__api__fspf_key=HEX, services__api__fspf_tag="ab" * 16)
    rekeyed = policy(services__api__fspf_key=OTHER, services__api__fspf_tag="ab" * 16)
    texts += [str(change) for change in compare(keyed, rekeyed)]
    assert not [text for text in texts if "hunter" in text]
    assert "[secret] → [secret]" in texts[-1]
    assert any("given instead of generated" in text for text in texts)


_SECRETS = (
    {"kind": "ascii", "size": 10},
    {"kind": "ascii", "value": "hunter2"},
    {"kind": "ascii", "value": "hunter3"},
)


def test_unknown_values_show_as_unknown() -> None:
    """What is not known yet is a change, shown without its token."""
    hole = Holes().punch(object())
    (change,) = compare(policy(), policy(services__api__attestation={"mrenclave": hole}))
    assert str(change).startswith(f'~ services.api.attestation.mrenclave: "{HEX}" → [unknown] (changes')


def test_retiring_shows_what_is_lost() -> None:
    """A retired policy differs by all its services and secrets, and by who may create below it."""
    paths = [change.path for change in compare(policy(), retired("app/api").canonical())]
    assert paths == ["access_policy.create_sessions", "secrets.s", "services.api", "version"]


def test_sets_change_by_member() -> None:
    """A toleration that replaces another one is one narrowing and one widening."""
    before = policy(security__attestation__tolerate=["hyperthreading"])
    found = compare(before, policy(security__attestation__tolerate=["outdated-tcb"]))
    assert [(change.path.rpartition(".")[2], change.trust) for change in found] == [
        ("hyperthreading", Trust.NARROWS),
        ("outdated-tcb", Trust.WIDENS),
    ]


@given(wire_sessions(), wire_sessions())
def test_empty_exactly_when_equal(left: dict[str, Any], right: dict[str, Any]) -> None:
    """No difference is overlooked and none is invented."""
    old, new = parse(left).canonical(), parse(right).canonical()
    assert compare(old, old) == []
    assert (compare(old, new) == []) == (old == new)


def _leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all scalars, members of sets (`true`) included."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        elif not isinstance(value, dict):
            yield (*path, key)


def _candidates(value: Any) -> Iterator[Any]:
    """Other values that may be valid in the place of one; None removes a member of a set."""
    if value is True:
        yield None
        return
    if isinstance(value, int):
        yield value + 1
        return
    yield ("0" if value[:1] != "0" else "1") + value[1:]
    yield value[:-1] + ("0" if value[-1:] != "0" else "1")
    yield from (f"{value}00", "0o640", "0.3.11", "P-256", "server", "59 days", "ephemeral", "authority", '"other"')
    yield from ("no_rollback_protection", "rollback_protected", "A" * 32, *PUBLIC_KEYS, *PRIVATE_KEYS)


def _set(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    edited = {**tree, first: _set(tree[first], tuple(rest), value)} if rest else {**tree, first: value}
    return {key: item for key, item in edited.items() if item is not None}


def _edits(canonical: dict[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The policy with one other valid value at `path`."""
    node: Any = canonical
    for step in path:
        node = node[step]
    for value in _candidates(node):
        with suppress(PolicyError):
            after = parse(_set(canonical, path, value)).canonical()
            if value is None or value != node:
                yield after


_FIXED = {"kind", "image_name", "alg", "private_key", "signer", "issuer", "token", "url"}
"""Leaves whose other values change what must stand beside them."""


@settings(max_examples=200)
@given(wire_sessions(), st.data())
def test_every_single_edit_shows_at_its_path(session: dict[str, Any], data: st.DataObject) -> None:
    """Whichever scalar of a policy is edited: the canonical form changes, and the changes name that place only."""
    before = parse(session).canonical()
    path = data.draw(st.sampled_from([path for path in _leaves(before) if path[-1] not in _FIXED]))
    after = next(_edits(before, path), None)
    assume(after is not None)
    assert after is not None
    assert after != before
    changes = compare(before, after)
    depth = 3 if path[0] in ("services", "secrets", "volumes", "images", "security") else 2
    where = ".".join(path[:depth])
    assert changes
    assert [change.path for change in changes if not f"{change.path}.".startswith(f"{where}.")] == []


def test_edits_are_found_for_most_places() -> None:
    """The property above is not empty: in a policy with one of everything nearly every leaf has another valid value."""
    before = parse(EVERYTHING).canonical()
    leaves = [path for path in _leaves(before) if path[-1] not in _FIXED]
    stuck = [".".join(path) for path in leaves if next(_edits(before, path), None) is None]
    assert len(leaves) > 40
    assert len(stuck) * 5 < len(leaves), stuck


EVERYTHING: dict[str, Any] = {
    "name": "app/api",
    "version": "0.3.12",
    "salt": "ab" * 16,
    "namespace_hash": HEX,
    "services": [
        {
            "name": "api",
            "command": "run @@1",
            "environment": {"A": "$$SCONE::cert:chain$$"},
            "pwd": "/app",
            "image_name": "i",
            "fspf_path": "/fs",
            "fspf_key": HEX,
            "fspf_tag": "ab" * 16,
            "attestation": [{"mrenclave": HEX, "signer": {"mrsigner": OTHER, "isvsvn_max": 7}}, "$$SCONE::part$$"],
            "platforms": [f"INTEL_QE_ID:{'ab' * 16}", "$$SCONE::part$$"],
            "tags": ["demo", "eu"],
            "one_time_password_shared_secret": "A" * 26,
        }
    ],
    "secrets": [
        {"name": "key", "kind": "private-key", "key_type": "P-384", "migrate": True},
        {"name": "ca", "kind": "x509-ca", "private_key": "key", "common_name": "CA", "valid_for": "1 year"},
        {"name": "cert", "kind": "x509", "private_key": "key", "issuer": "ca", "san": ["dns:a.b", "ip:10.0.0.1"]},
        {"name": "part", "kind": "config-fragment", "import": {"session": "../other", "secret": "part"}},
        {"name": "own", "kind": "config-fragment", "value": {"isvsvn_min": 3}},
        {"name": "word", "kind": "ascii", "export": [{"session": "./in"}, {"namespace": "..", "session_hash": HEX}]},
    ],
    "volumes": [
        {"name": "v", "export": [{"to": {"session": "a", "session_hash": HEX}, "volume_alias": "w"}]},
        {"name": "u", "files": "authenticated-only", "import": {"session": "o", "volume": "x"}},
    ],
    "images": [
        {
            "name": "i",
            "injection_files": [{"path": "/f", "content": "x", "permission": "0o600"}],
            "volumes": [{"name": "v", "path": "/data", "update_policy": "ephemeral"}],
            "provide_secrets": ["word", "own"],
        }
    ],
    "access_policy": {
        "read": ["CREATOR", "$$SCONE::part$$"],
        "update": [{"require-at-least-2": ["CREATOR", KEY_HASH, {"signer": PUBLIC_KEYS[0]}]}],
        "create_sessions": ["NONE"],
    },
    "security": {
        "singleton_enclaves": True,
        "service_access_token": "token",
        "attestation": {"tolerate": ["debug-mode"], "must_be_sgx_local": "$$SCONE::part$$"},
    },
}


@pytest.mark.parametrize(
    ("before", "after", "trust"),
    [
        ({"isvsvn_min": "$$SCONE::a$$"}, {"isvsvn_min": "$$SCONE::b$$"}, Trust.CHANGES),
        ({"isvsvn_min": "$$SCONE::a$$"}, {"isvsvn_min": "$$SCONE::a$$", "isvsvn_max": 9}, Trust.NARROWS),
        ({"isvsvn_min": "$$SCONE::a$$", "isvsvn_max": 9}, {"isvsvn_min": "$$SCONE::a$$"}, Trust.WIDENS),
        ({"isvsvn_min": "$$SCONE::a$$"}, {"isvsvn_max": 9}, Trust.CHANGES),
        ({}, {"isvsvn_max": 65535}, Trust.CHANGES),
        ({}, {"isvsvn_max": 65534}, Trust.NARROWS),
        ({"isvsvn_min": 1}, {"isvsvn_min": 0}, Trust.WIDENS),
        ({}, {"isvsvn_min": 1}, Trust.NARROWS),
        ({"isvsvn_min": 2, "isvsvn_max": 4}, {"isvsvn": 4}, Trust.NARROWS),
        ({"isvsvn": 2}, {"isvsvn_min": 2, "isvsvn_max": 4}, Trust.WIDENS),
        ({"isvsvn_min": 2, "isvsvn_max": 4}, {"isvsvn_min": 3, "isvsvn_max": 5}, Trust.CHANGES),
    ],
)
def test_directions_of_versions(before: dict[str, Any], after: dict[str, Any], trust: Trust) -> None:
    """Which versions of a signer's program are trusted, to the last one; a secret decides nothing by itself."""
    secrets = {"a": {"kind": "ascii", "value": "1"}, "b": {"kind": "ascii", "value": "2"}}
    sides = [
        policy(services__api__attestation={"signer": {"mrsigner": OTHER, **one}}, secrets=secrets)
        for one in (before, after)
    ]
    assert {change.trust for change in compare(*sides)} == {trust}
