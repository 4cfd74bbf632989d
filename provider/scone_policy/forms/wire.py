"""Writes the wire form: the YAML with lists that a CAS takes, the same bytes for the same session."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from scone_policy.errors import PolicyError
from scone_policy.forms.canonical import ELSEWHERE, NO_SECRETS
from scone_policy.syntax import config_fragments
from scone_policy.syntax.command_line import split
from scone_policy.syntax.holes import has_hole
from scone_policy.syntax.yaml_source import BOOLEANS, NULLS, NUMBER, Number

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


class _KeyVault(dict[str, str]):
    """Where secrets are kept outside of CAS, written with its tag."""


_Dumper.add_representer(_KeyVault, lambda dumper, value: dumper.represent_mapping("!akv", dict(value)))
_Dumper.add_representer(Number, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value)))
_Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:str", "~"))
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
        raise PolicyError(
            "a policy with values that are not known yet cannot be written",
            where=_where(canonical),
            fix="Run up: its resources give them.",
        )
    minor = _minor(canonical["version"])
    tree: TypeMap = {"name": canonical["name"], "version": canonical["version"]}
    if predecessor is not None:
        tree["predecessor"] = predecessor
    if "namespace_hash" in canonical and predecessor is None:
        tree["namespace_hash"] = canonical["namespace_hash"]
    if "salt" in canonical:
        tree["salt"] = canonical["salt"]
    if "security" in canonical:
        tree["security"] = _security(canonical["security"])
    tree["access_policy"] = _access(canonical["access_policy"])
    if "services" in canonical:
        tree["services"] = [
            _service(name, entry, fspf_keys=fspf_keys, minor=minor, where=_where(canonical))
            for name, entry in sorted(canonical["services"].items())
        ]
    for section, write in (("images", _image), ("volumes", _volume), ("secrets", _secret)):
        if section in canonical:
            tree[section] = [write(name, entry) for name, entry in sorted(canonical[section].items())]
    if "secret_config" in canonical:
        tree["secret_config"] = {"store_in": _KeyVault(canonical["secret_config"]["store_in"]["akv"])}
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**20)


def _where(canonical: Mapping[str, Any]) -> str:
    return f"policy {canonical['name']}"


def _minor(version: str) -> int | None:
    """N of 0.3.N; None for a bare 0.3, which means the newest."""
    _, _, minor = version.partition("0.3.")
    return int(minor) if minor else None


def _alternatives(entries: Mapping[str, Any]) -> list[Any]:
    return [key if value is True else _entry(value) for key, value in sorted(entries.items())]


def _entry(value: Any) -> Any:  # noqa: ANN401 - JSON-like
    """An entry of an access policy: text, or a map of one key with a text or further entries under it."""
    if not isinstance(value, Mapping):
        return value
    return {word: _alternatives(inner) if isinstance(inner, Mapping) else inner for word, inner in value.items()}


def _access(policy: Any) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(policy, str):
        return policy
    return {key: _alternatives(value) for key, value in policy.items()}


def _security(security: Any) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(security, str):
        return security
    found: TypeMap = dict(security)
    if isinstance(found.get("attestation"), Mapping):
        attestation = dict(found["attestation"])
        for key in ("tolerate", "ignore_advisories", "trusted_scone_qe_pubkeys"):
            if key in attestation:
                attestation[key] = _alternatives(attestation[key])
        if attestation.get("ignore_advisories") == ["*"]:
            attestation["ignore_advisories"] = "*"
        found["attestation"] = attestation
    return found


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
    for key in ("platforms", "tags"):
        if key in entry:
            found[key] = _alternatives(entry[key])
    if "one_time_password_shared_secret" in entry:
        found["one_time_password_shared_secret"] = entry["one_time_password_shared_secret"]
    return found


def _attestation(attestation: Any, minor: int | None) -> TypeMap:  # noqa: ANN401 - JSON-like
    if isinstance(attestation, str):
        return {"attestation": attestation}
    variants = list(attestation["any"].values()) if "any" in attestation else [attestation]
    found = [_variant(variant) for variant in variants]
    if minor is not None and minor < _FIRST_WITH_ATTESTATION and len(found) == 1 and set(found[0]) == {"mrenclave"}:
        measurements = found[0]["mrenclave"]
        return {"mrenclaves": measurements if isinstance(measurements, list) else [measurements]}
    return {"attestation": found[0] if len(found) == 1 else found}


def _variant(variant: Any) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(variant, str):
        return variant
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
    found: TypeMap = {"name": name}
    if files:
        found["injection_files"] = files
    if "volumes" in entry:
        found["volumes"] = [{**mount, "path": path} for path, mount in sorted(entry["volumes"].items())]
    if "provide_secrets" in entry:
        provided = entry["provide_secrets"]
        found["provide_secrets"] = [] if provided == NO_SECRETS else _alternatives(provided)
    return found


def _volume(name: str, entry: Mapping[str, Any]) -> TypeMap:
    found = {"name": name, **entry}
    if "export" in entry:
        found["export"] = [
            item for receiver, ways in sorted(entry["export"].items()) for item in _volume_export(receiver, ways)
        ]
    return found


def _volume_export(receiver: str, ways: Any) -> list[TypeMap]:  # noqa: ANN401 - JSON-like
    several = ways["any"].values() if isinstance(ways, Mapping) and set(ways) == {"any"} else [ways]
    found = []
    for way in several:
        rest = {} if way is True else dict(way)
        to = {"session": receiver}
        if "session_hash" in rest:
            to["session_hash"] = rest.pop("session_hash")
        found.append({"to": to, **rest})
    return found


def _secret(name: str, entry: Mapping[str, Any]) -> TypeMap:
    found = {"name": name, **entry}
    for key in ("dns", "san"):
        if key in entry:
            found[key] = _alternatives(entry[key])
    if "value_json" in entry:
        found["value"] = config_fragments.load(found.pop("value_json"))
    if "export" in entry:
        found["export"] = [item for receiver, ways in entry["export"].items() for item in _export(receiver, ways)]
    return found


def _export(receiver: str, ways: Mapping[str, Any]) -> list[TypeMap]:
    found: list[TypeMap] = []
    for other in ways.get(ELSEWHERE, {}).values():
        here = {key: item for key, item in other.items() if not key.startswith("cas_")}
        cas = {key: item for key, item in other.items() if key.startswith("cas_")}
        found += [{**one, **cas} for one in _export(receiver, here)]
    found += [{way: receiver} for way in ("session", "namespace") if way in ways]
    for way in ("session", "namespace"):
        hashes = ways.get(f"{way}_hash", {})
        items = hashes.values() if isinstance(hashes, Mapping) else [hashes]
        found += [{way: receiver, "session_hash": item} for item in items]
    return found
