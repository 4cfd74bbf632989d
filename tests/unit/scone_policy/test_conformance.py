"""Documents of the vendor's reference, which are no part of this repository, and what becomes of each of them.

`SCONE_CONFORMANCE=FOLDER` names the folder (`NNN-whole-….yaml`, `NNN-part-….yaml`). Without it only the table itself is
judged. Shell variables get the values below; sections get a name, a version, and what they refer to.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scone_policy import PolicyError, parse
from scone_policy.syntax.yaml_source import load
from support.policy_strategies import PUBLIC_KEYS

HEX = "ab" * 32
OTHER_VALUES = {
    "INPUT_FSPF_TAG": "ab" * 16,
    "OUTPUT_FSPF_TAG": "cd" * 16,
    "OTPSECRET": "A" * 32,
    "SESSION_LANG_VERSION": "0.3.10",
    "voter1": PUBLIC_KEYS[0],
    "voter2": PUBLIC_KEYS[1],
    "voter3": PUBLIC_KEYS[2],
    "veto_member1": PUBLIC_KEYS[3],
    "veto_member2": PUBLIC_KEYS[0],
}
NAMES = {"SESSION", "NAMESPACE", "USER_ID", "REDIS_SESSION", "FASTAPI_SESSION", "NGINX_HOST"}

REFUSED = {
    1: "version: must be",
    24: "access_policy.create_sessions: each entry must be",
    34: "access_policy.create_sessions[1]: must have a value",
    36: "version: must be",
    41: "digest: unknown key",
    42: "digest: unknown key",
    51: "name: each part between",
    57: "32 bytes in hex",
    58: "version: must be",
}
"""Number of the document → the beginning or a part of the rule that refuses it. All others are taken."""
LAST = 58


def _filled(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in NAMES:
            return name.lower()
        return OTHER_VALUES.get(name, HEX).replace("\n", "\\n")

    text = re.sub(r"(signer: )\$(\w+)", r'\1"$\2"', text.replace("\\$", "$"))
    return re.sub(r"(?<!\$)\$([A-Za-z_][A-Za-z0-9_]*)", value, text)


def _completed(text: str) -> dict[str, Any]:
    """A section as a description: a name, a version, attestation off, and every secret and volume it refers to."""
    data: Any = load(text).data
    data.setdefault("name", "conformance/section")
    data.setdefault("version", "0.3")
    data = {key: value for key, value in data.items() if value is not None}
    services = data.get("services", [])
    if "security" not in data and isinstance(services, list):
        for service in services:
            if "attestation" not in service and "mrenclaves" not in service:
                service["attestation"] = {"mrenclave": HEX}
            if "image_name" in service and "images" not in data:
                data["images"] = [{"name": service["image_name"]}]
    secrets = data.setdefault("secrets", [])
    known = {secret["name"] for secret in secrets}
    for name in re.findall(r"\$\$SCONE::(?!self::)([A-Za-z0-9_\-]+)", text):
        if name not in known:
            known.add(name)
            secrets.append({"name": name, "import": {"session": "elsewhere", "secret": "given"}})
    for image in data.get("images", []):
        for mount in image.get("volumes", []) if isinstance(image, dict) else []:
            volumes = data.setdefault("volumes", [])
            if mount["name"] not in {volume["name"] for volume in volumes}:
                volumes.append({"name": mount["name"]})
    return dict(data)


def _verdict(file: Path) -> str:
    """Accepted, or what the refusal says; what is taken must also come back from its wire form, whole."""
    text = _filled(file.read_text(encoding="utf-8"))
    whole = "-whole-" in file.name
    try:
        session = parse(text) if whole else parse(_completed(text))
    except PolicyError as error:
        return str(error)
    canonical = session.canonical()
    assert parse(session.wire()).canonical() == canonical, file.name
    assert parse(canonical).canonical() == canonical, file.name
    assert yaml.safe_load(re.sub("!akv", "", session.wire()))["name"] == session.name
    return "accepted"


def _files() -> list[Path]:
    folder = os.environ.get("SCONE_CONFORMANCE")
    return sorted(Path(folder).glob("[0-9][0-9][0-9]-*.yaml")) if folder else []


def accepted() -> Iterator[Any]:
    """The documents that are taken, as plain data; none without the folder."""
    for file in _files():
        if int(file.name[:3]) <= LAST and int(file.name[:3]) not in REFUSED:
            text = _filled(file.read_text(encoding="utf-8"))
            yield load(text).data if "-whole-" in file.name else _completed(text)


def test_every_document_has_its_verdict() -> None:
    """What a real CAS takes is taken and keeps its meaning; what the rules must refuse is refused by the right rule."""
    files = _files()
    wrong = []
    for file in files:
        number = int(file.name[:3])
        if number > LAST:
            continue
        verdict, expected = _verdict(file), REFUSED.get(number, "accepted")
        if expected not in verdict:
            wrong.append(f"{file.name}: expected {expected!r}, found {verdict}")
    assert not wrong, "\n".join(wrong)
    assert set(REFUSED) <= set(range(1, LAST + 1))
