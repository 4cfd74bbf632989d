"""The formats of docs/image-format.md, against vectors that were computed apart from this code."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_provider.errors import ImageError
from scone_provider.image.base.locked_base import tree_of
from scone_provider.image.oci.canonical_json import canonical_json, parse_object
from scone_provider.image.protection.image_keys import derive_keys, injected_name
from scone_provider.image.protection.measurement import MeasuredEnvironment, measure
from scone_provider.image.protection.protection_file import (
    EncryptedDirectory,
    ServiceProtection,
    base_entries,
    base_protection,
    protection_tag,
)
from scone_provider.image.protection.seal import ROOT_LABEL, file_label, seal, unseal

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[4] / "vectors" / "image.json").read_text("utf-8"))
KEYS = derive_keys(bytes.fromhex(VECTORS["image_key"]), identity=VECTORS["identity"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("sample", VECTORS["canonical"], ids=range(len(VECTORS["canonical"])))
def test_canonical_json_is_what_the_launcher_reads(sample: dict[str, Any]) -> None:
    """Sorting, escaping and spacing are those of the document, also for code points beyond the basic plane."""
    assert canonical_json(sample["value"]).decode() == sample["text"]


@given(JSON)
def test_canonical_json_says_one_thing_in_one_way(value: object) -> None:
    """What is read back from the canonical form has the same canonical form, and is the same value."""
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@pytest.mark.parametrize("value", [1.0, {"a": [float("nan")]}, "\ud800", {"\udcff": 1}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Fractions and broken Unicode have no agreed spelling: better no digest than two."""
    with pytest.raises(ImageError):
        canonical_json(value)


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff", b'{"a":' + b"[" * 100_000, b"{}" + b" " * 100])
def test_a_document_that_is_no_small_object_is_refused_by_name(data: bytes) -> None:
    """Every document from outside is bounded, and the error says which one it was."""
    with pytest.raises(ImageError, match="the test's document"):
        parse_object(data, what="the test's document", limit=100 if len(data) < 1000 else 1_000_000)


def test_a_document_that_is_nested_without_end_is_refused() -> None:
    """No depth ends in a crash."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ImageError, match="nested too deeply"):
        canonical_json(value)


def test_keys_are_derived_as_documented() -> None:
    """All four keys, and the one that a service receives, are those of the vectors."""
    expected = VECTORS["keys"]
    assert {purpose: getattr(KEYS, purpose).hex() for purpose in expected} == expected
    assert KEYS.fspf_key == VECTORS["fspf_key"]
    other = VECTORS["keys_of_another_identity"]
    assert derive_keys(bytes(range(32)), identity=other["identity"]).fspf_key == other["encryption"]


def test_keys_are_never_shown() -> None:
    """Neither repr nor str of the keys holds a byte of them."""
    assert repr(KEYS) == "ImageKeys()"


def test_an_image_key_of_another_size_is_refused_without_showing_it() -> None:
    """A key cut short while it was copied must not quietly become a weak one."""
    with pytest.raises(ImageError) as caught:
        derive_keys(b"too short a key", identity="a")
    assert "too short a key" not in str(caught.value)


@pytest.mark.parametrize("sample", VECTORS["files"], ids=lambda sample: sample["path"])
def test_files_are_sealed_as_the_launcher_opens_them(sample: dict[str, Any]) -> None:
    """Label, nonce, sealed bytes, blob name and fingerprint of each file are those of the vectors."""
    plaintext = base64.b64decode(sample["plaintext"])
    label = file_label(sample["path"], sample["mode"])
    sealed = seal(KEYS, label, plaintext)
    assert label.hex() == sample["label"]
    assert base64.b64encode(sealed).decode() == sample["sealed"]
    assert KEYS.blob_name(sample["path"]) == sample["blob_name"]
    assert KEYS.fingerprint(plaintext) == sample["fingerprint"]
    assert unseal(KEYS.encryption, label, sealed) == plaintext


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(min_value=0))
def test_a_changed_byte_never_opens(label: bytes, plaintext: bytes, position: int) -> None:
    """Whatever byte of a sealed file is changed, and wherever it is moved, it does not open."""
    sealed = bytearray(seal(KEYS, label, plaintext))
    sealed[position % len(sealed)] ^= 1
    with pytest.raises(ImageError):
        unseal(KEYS.encryption, label, bytes(sealed))
    with pytest.raises(ImageError):
        unseal(KEYS.encryption, label + b"x", seal(KEYS, label, plaintext))


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_changed_file_gets_another_nonce(first: bytes, second: bytes) -> None:
    """No nonce is ever used for two plaintexts, whatever their labels."""
    nonces = {seal(KEYS, label, text)[:12] for label in (b"a", b"ab") for text in {first, second}}
    assert len(nonces) == 2 * len({first, second})


def test_the_base_part_has_the_documented_bytes() -> None:
    """`base.json` of the vectors comes out of a tree with the same content."""
    entries = json.loads(VECTORS["base_json"])["entries"]
    assert base_protection(base_entries(tree_of(entries, {}))).decode() == VECTORS["base_json"]


def test_the_service_part_has_the_documented_bytes() -> None:
    """Plaintext, sealed root and tag of the service's protection are those of the vectors."""
    wanted = json.loads(VECTORS["service_plaintext"])
    protection = ServiceProtection(
        base=wanted["base"],
        launcher=wanted["launcher"],
        configuration=wanted["configuration"],
        entries=wanted["entries"],
        encrypted={path: EncryptedDirectory(**part) for path, part in wanted["encrypted"].items()},
        injected=wanted["injected"],
        volumes=wanted["volumes"],
        unprotected=wanted["unprotected"],
    )
    assert protection.to_bytes().decode() == VECTORS["service_plaintext"]
    sealed = protection.sealed(KEYS)
    assert base64.b64encode(sealed).decode() == VECTORS["service_sealed"]
    assert protection_tag(sealed) == VECTORS["fspf_tag"]
    assert unseal(KEYS.encryption, ROOT_LABEL, sealed) == protection.to_bytes()


def test_injected_files_are_named_as_the_launcher_names_them() -> None:
    """The link in the image and the file in memory meet."""
    assert injected_name(VECTORS["injected"]["path"]) == VECTORS["injected"]["name"]


@pytest.mark.parametrize("sample", VECTORS["measurements"], ids=range(3))
def test_the_measurement_is_the_launchers(sample: dict[str, Any]) -> None:
    """What a policy expects is what the launcher measures."""
    inputs = sample["inputs"]
    environment = MeasuredEnvironment(heap=inputs["heap"], stack=inputs["stack"], dlopen=inputs["dlopen"])
    found = measure(
        launcher=inputs["launcher"], program=inputs["program"], loader=inputs["loader"], environment=environment
    )
    assert found == sample["measurement"]


def test_unset_variables_are_measured_with_their_defaults() -> None:
    """A container without SCONE_HEAP, SCONE_STACK and SCONE_ALLOW_DLOPEN is measured as `""`, `""` and `"0"`."""
    assert MeasuredEnvironment() == MeasuredEnvironment(heap="", stack="", dlopen="0")
