"""Writes the wire form: the YAML with lists that a CAS takes, the same bytes for the same session."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from scone_policy.command import split
from scone_policy.errors import PolicyError
from scone_policy.holes import has_hole
from scone_policy.source import BOOLEANS, NULLS, NUMBER

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./ \-]*(?<! )")
_DOCUMENT_MARKS = ("...", "---")
_FIRST_WITH_COMMAND_LISTS, _FIRST_WITH_ATTESTATION = 5, 7
_OLD_WORDS = frozenset({"yes", "no", "on", "off", "y", "n"})

TypeMap = dict[str, Any]


class _Octal(int):
    """A file mode, written as `0o600`."""


class _Dumper(yaml.SafeDumper):
    """Plain style only where every YAML version reads the same text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        """Write equal values out in full: CASes need no alias support."""
        del data
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = (
        _PLAIN.fullmatch(value) is not None
        and value not in NULLS
        and value not in BOOLEANS
        and value.lower() not in _OLD_WORDS
        and not NUMBER.fullmatch(value)
        and not value.startswith(_DOCUMENT_MARKS)
        and not (value[0].isdigit() and re.fullmatch(r"[0-9_:.eExXoO+\-]+", value))
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Octal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", f"0o{value:o}"))
_Dumper.add_representer(int, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value)))
_Dumper.add_representer(
    bool, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", "true" if value else "false")
)


def wire_text(canonical: Mapping[str, Any], *, predecessor: str | None, fspf_keys: Mapping[str, str]) -> str:
    """The wire form of a canonical session.

    Raises PolicyError when a key marker has no key in `fspf_keys`, or a value is not known yet.
    """
    if has_hole(canonical) or has_hole(predecessor):
        raise PolicyError("a policy with values that are not known yet cannot be written", where=_where(canonical))
    minor = _minor(canonical["version"])
    tree: TypeMap = {"name": canonical["name"], "version": canonical["version"]}
    if predecessor is not None:
        tree["predecessor"] = predecessor
    tree |= {key: canonical[key] for key in ("namespace_hash", "salt") if key in canonical}
    if "security" in canonical:
        tree["security"] = _security(canonical["security"])
    tree["access_policy"] = {key: _alternatives(value) for key, value in canonical["access_policy"].items()}
    if "services" in canonical:
        tree["services"] = [
            _service(name, entry, fspf_keys=fspf_keys, minor=minor, where=_where(canonical))
            for name, entry in sorted(canonical["services"].items())
        ]
    if "images" in canonical:
        tree["images"] = [_image(name, entry) for name, entry in sorted(canonical["images"].items())]
    if "secrets" in canonical:
        tree["secrets"] = [_secret(name, entry) for name, entry in sorted(canonical["secrets"].items())]
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**20)


def _where(canonical: Mapping[str, Any]) -> str:
    return f"policy {canonical['name']}"


def _minor(version: str) -> int | None:
    """N of 0.3.N; None for a bare 0.3, which means the newest."""
    _, _, minor = version.partition("0.3.")
    return int(minor) if minor else None


def _alternatives(entries: Mapping[str, Any]) -> list[Any]:
    return [key if value is True else value for key, value in sorted(entries.items())]


def _security(security: Mapping[str, Any]) -> TypeMap:
    attestation = dict(security["attestation"])
    if "tolerate" in attestation:
        attestation["tolerate"] = _alternatives(attestation["tolerate"])
    if "ignore_advisories" in attestation:
        found = _alternatives(attestation["ignore_advisories"])
        attestation["ignore_advisories"] = "*" if found == ["*"] else found
    return {"attestation": attestation}


def _service(
    name: str, entry: Mapping[str, Any], *, fspf_keys: Mapping[str, str], minor: int | None, where: str
) -> TypeMap:
    found: TypeMap = {"name": name}
    for key in (
        "image_name",
        "command",
        "environment",
        "pwd",
        "fspf_path",
        "fspf_key",
        "fspf_tag",
        "fspf_update_policy",
    ):
        if key in entry:
            found[key] = entry[key]
    if "command" in entry and (minor is None or minor >= _FIRST_WITH_COMMAND_LISTS):
        found["command"] = list(split(entry["command"]))
    if str(entry.get("fspf_key", "")).startswith("derived: "):
        if not re.fullmatch("[0-9a-f]{64}", fspf_keys.get(name, "")):
            raise PolicyError(
                f"the key of the image ({entry['fspf_key']}) is not at hand, so the policy cannot be written",
                where=f"{where}: services.{name}.fspf_key",
                fix="Give the stack's image key (stack secret scone:imageKey).",
            )
        found["fspf_key"] = fspf_keys[name]
    if "attestation" in entry:
        found |= _attestation(entry["attestation"], minor)
    return found


def _attestation(attestation: Mapping[str, Any], minor: int | None) -> TypeMap:
    variants = list(attestation["any"].values()) if "any" in attestation else [attestation]
    found = [_variant(variant) for variant in variants]
    if minor is not None and minor < _FIRST_WITH_ATTESTATION and len(found) == 1 and set(found[0]) == {"mrenclave"}:
        measurements = found[0]["mrenclave"]
        return {"mrenclaves": measurements if isinstance(measurements, list) else [measurements]}
    return {"attestation": found[0] if len(found) == 1 else found}


def _variant(variant: Mapping[str, Any]) -> TypeMap:
    found = dict(variant)
    if isinstance(found.get("mrenclave"), Mapping):
        found["mrenclave"] = sorted(found["mrenclave"].values())
    return found


def _image(name: str, entry: Mapping[str, Any]) -> TypeMap:
    files = []
    for path, file in sorted(entry.get("injection_files", {}).items()):
        item = {"path": path, **file}
        if "permission" in item:
            item["permission"] = _Octal(int(item["permission"], 8))
        files.append(item)
    return {"name": name, "injection_files": files} if files else {"name": name}


def _secret(name: str, entry: Mapping[str, Any]) -> TypeMap:
    found = {"name": name, **entry}
    if "export" in entry:
        found["export"] = [item for receiver, ways in entry["export"].items() for item in _export(receiver, ways)]
    return found


def _export(receiver: str, ways: Mapping[str, Any]) -> list[TypeMap]:
    found: list[TypeMap] = [{way: receiver} for way in ("session", "namespace") if way in ways]
    hashes = ways.get("session_hash", {})
    items = hashes.values() if isinstance(hashes, Mapping) else [hashes]
    return [*found, *({"session": receiver, "session_hash": item} for item in items)]
