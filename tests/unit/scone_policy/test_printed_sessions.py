"""What a CAS prints of a session, uploaded again: the same session, whatever was filled in, spelt out or reordered."""

import random
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from scone_policy import parse
from scone_policy.model.access import AccessPolicy
from scone_policy.model.attestation import Signer, Variant
from scone_policy.model.images import Image, InjectionFile, Mount
from scone_policy.model.secret_sharing import Export, Import
from scone_policy.model.secrets import Secret
from scone_policy.model.security import Attestation, Security
from scone_policy.model.services import Service
from scone_policy.model.session import Session
from scone_policy.model.volumes import Volume
from scone_policy.rules.check import written_problems
from scone_policy.rules.warnings import cautions
from support.policy_strategies import HEX32, wire_sessions
from unit.scone_policy.test_field_documents import CA

DEFAULTS: dict[type[BaseModel], dict[str, Any]] = {
    Service: {"fspf_update_policy": "rollback_protected_reinitializable", "environment": {}, "tags": []},
    Secret: {"migrate": False, "export_public": False, "export": [], "dns": [], "san": []},
    Volume: {"update_policy": "rollback_protected", "files": "encrypted", "export": []},
    InjectionFile: {"permission": "0o700"},
    Security: {"singleton_enclaves": False},
    Attestation: {"mode": "hardware", "must_be_sgx_local": False, "tolerate": [], "ignore_advisories": []},
}
"""What a CAS may print where nothing was written: the default itself."""
NEVER = frozenset({"reference", "value_json", "value", "kind", "creator", "predecessor", "namespace_hash", "name"})
"""Keys that are no keys of a document, and those that are told apart by whether they stand there."""


class Printer:
    """Prints one session as some CAS might: `chance` decides on each key that was not written."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def session(self, data: dict[str, Any]) -> dict[str, Any]:
        """The whole session."""
        found = self._entry(Session, data)
        for section, model in (("services", Service), ("secrets", Secret), ("volumes", Volume), ("images", Image)):
            entries = data.get(section) or []
            is_list = self._chance.random() < 0.5
            found[section] = [self._section(model, entry) for entry in entries] or ([] if is_list else None)
            self._chance.shuffle(found[section] or [])
        if not isinstance(data.get("access_policy", {}), str):
            found["access_policy"] = self._entry(AccessPolicy, data.get("access_policy") or {})
        if not isinstance(data.get("security", {}), str):
            security = data.get("security") or {}
            found["security"] = self._entry(Security, security)
            if not isinstance(security.get("attestation", {}), str):
                found["security"]["attestation"] = self._entry(Attestation, security.get("attestation") or {})
        return found

    def _section(self, model: type[BaseModel], entry: dict[str, Any]) -> dict[str, Any]:
        found = self._entry(model, entry)
        if model is Image:
            files = entry.get("injection_files") or []
            found["injection_files"] = [self._entry(InjectionFile, file) for file in files]
            found["volumes"] = [self._entry(Mount, mount) for mount in entry.get("volumes") or []]
        if model is Secret and isinstance(entry.get("export"), list):
            found["export"] = [self._entry(Export, one) for one in entry["export"]]
        if model is Secret and isinstance(entry.get("import"), dict):
            found["import"] = self._entry(Import, entry["import"])
        if model is Service:
            found["attestation"] = self._attestation(entry.get("attestation"))
        if model in (Service, Volume, Mount):
            found["persistency"] = "None"
        return found

    def _attestation(self, written: Any) -> Any:
        """A list of variants, each with all its keys."""
        variants = written if isinstance(written, list) else [written]
        return [self._variant(one) if isinstance(one, dict) else one for one in variants]

    def _variant(self, written: dict[str, Any]) -> dict[str, Any]:
        found = self._entry(Variant, written)
        if isinstance(found.get("mrenclave"), str):
            found["mrenclave"] = [found["mrenclave"]]
        if isinstance(written.get("signer"), dict):
            found["signer"] = self._entry(Signer, written["signer"])
        return found

    def _entry(self, model: type[BaseModel], written: dict[str, Any]) -> dict[str, Any]:
        """The keys that stand there, and some of the others: as null, or as their default."""
        found = dict(written)
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key in found or key in NEVER or key == "size":
                continue
            default = DEFAULTS.get(model, {}).get(key)
            match self._chance.randrange(3):
                case 0:
                    found[key] = None
                case 1 if default is not None:
                    found[key] = default
        items = list(found.items())
        self._chance.shuffle(items)
        return dict(items)


@settings(max_examples=40)
@given(data=wire_sessions(), predecessor=HEX32, seed=st.integers(0, 2**32))
def test_what_is_printed_is_the_same_session(data: dict[str, Any], predecessor: str, seed: int) -> None:
    """Nulls, defaults, creator, predecessor, None for persistency and another order change no meaning."""
    meant = parse(data).canonical()
    chance = random.Random(seed)  # noqa: S311 - a test's choice
    printed = Printer(chance).session(data)
    printed |= {"predecessor": predecessor, "creator": CA if chance.random() < 0.5 else None}
    printed.pop("namespace_hash", None)
    text = yaml.safe_dump(printed, sort_keys=chance.random() < 0.5)
    found = parse(text)
    assert found.predecessor == predecessor
    assert written_problems(found) == []
    assert found.canonical() == {key: value for key, value in meant.items() if key != "namespace_hash"}
    assert [one for one in cautions(found) if one.path != ("creator",)] == cautions(parse(data))


@settings(max_examples=20)
@given(data=wire_sessions(), seed=st.integers(0, 2**32))
def test_reading_and_uploading_is_a_round_trip(data: dict[str, Any], seed: int) -> None:
    """Upload, print, upload, print: the second print says what the first said."""
    session = parse(data)
    for _ in range(2):
        shown = yaml.safe_load(session.wire(predecessor="ab" * 32).replace("!akv", ""))
        printed = Printer(random.Random(seed)).session(shown)  # noqa: S311 - a test's choice
        again = parse(yaml.safe_dump(printed))
        assert again.wire(predecessor="ab" * 32) == session.wire(predecessor="ab" * 32)
        session = again
