"""The next step for a broken rule that names none: what to write there instead, by the key or by the rule."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from scone_policy.syntax.problems import Problem
from scone_policy.syntax.yaml_source import Path

EXAMPLES = {
    "apiVersion": "apiVersion: scone/5.8",
    "build": "build: {name: api, kind: python, to: registry.example/team/api:1, command: python3 api.py}",
    "build.name": "name: api",
    "build.kind": "kind: python",
    "build.to": "to: registry.example/team/api:1",
    "build.from": "from: python:3.11-slim",
    "build.command": "command: python3 api.py",
    "build.pwd": "pwd: /app",
    "build.requirements": "requirements: requirements.txt",
    "build.copy": "copy: [api.py, static]",
    "build.run": 'run: ["pip install flask"]',
    "build.dirs": "dirs: [/data]",
    "build.fs_dirs": "fs_dirs: [/opt/app]",
    "build.fs_files": "fs_files: [/etc/app.conf]",
    "build.plains": "plains: [/usr/share/doc]",
    "build.plain_files": "plain_files: [/etc/motd]",
    "build.host_paths": "host_paths: [/etc/ssl/certs]",
    "build.binaries": "binaries: [/usr/bin/python3]",
    "build.volumes": "volumes: [{name: data, path: /data}]",
    "build.signature": "signature: {sign: true}",
    "environment": "environment: {local: [{name: SCONE_HEAP, value: 1G}], global: [{name: API_USER}]}",
    "environment.local": "local: [{name: SCONE_HEAP, value: 1G}]",
    "environment.global": "global: [{name: API_USER}]",
    "secrets": "secrets: {global: [{name: password, kind: ascii, size: 20}], import: [redis_ca_cert]}",
    "secrets.import": "import: [redis_ca_cert]",
    "secrets.local": "local: [{name: password, kind: ascii, size: 20}]",
    "secrets.global": "global: [{name: password, kind: ascii, size: 20}]",
    "injection_files": "injection_files: [{path: /etc/app.conf, content: text}]",
    "cas": "cas: [{name: cas, alias: [image, security, access, attestation], cas_url: cas.example}]",
    "cas.*.cas_url": "cas_url: cas.example:8081",
    "cas.*.alias": "alias: [image, security, access, attestation]",
    "cas.*.tolerance": 'tolerance: "-G"',
    "cas.*.mode": "mode: Upload",
    "policy": "policy: {namespace: shop}",
    "policy.namespace": "namespace: company/shop",
    "policy.tolerate": "tolerate: outdated-tcb",
    "policy.ignore_advisories": "ignore_advisories: INTEL-SA-00614",
    "policy.maa": "maa: https://sharedweu.weu.attest.azure.net",
    "policy.image_policy_namespace": "image_policy_namespace: company/images",
    "policy.access_policy_name": "access_policy_name: company/access",
    "policy.attestation_policy_name": "attestation_policy_name: company/attestation",
    "policy.security_policy_name": "security_policy_name: company/security",
    "env": "env: [{service: global, env: [{name: API_USER, value: me}]}]",
    "env.*.env": "env: [{name: API_USER, value: me}]",
    "services": "services: [{name: api, image: registry.example/team/api:1}]",
    "services.*.image": "image: registry.example/team/api:1",
    "services.*.image_secrets": "image_secrets: api.secrets.yaml",
    "services.*.image_policy": "image_policy: api.policy.yaml",
    "services.*.env": "env: api.env.yaml",
    "services.*.helm_chart": "helm_chart: charts/api",
    "repo": "repo: {destination: registry.example/team}",
    "repo.destination": "destination: registry.example/team",
    "helm_extra_values": "helm_extra_values: {services: {api: {resources: {limits: {memory: 1Gi}}}}}",
}
"""What stands at a key when it is right; `*` is the name or number of an item."""

_UNKNOWN = "unknown key"
_RENAMED: Mapping[Path, str] = {
    ("helm",): "Write helm_extra_values, a map: its values are not written as --set has them any more.",
    ("repo", "signature"): "Sign the image where it is built: build.signature of its manifest.",
}
_BY_RULE = (
    (r"unknown key", "Leave it out, or correct its name."),
    (r"must be genservice .*", "A Meshfile is given as mesh_file, a service manifest as manifest_file."),
    (r"must be mesh .*", "A service manifest is given among manifest_files, a Meshfile as mesh_file."),
    (r"must be an image with a tag: .*", "Write a tag, such as :1, in place of a digest: it is what is built."),
    (r"must be true or false", "Write true or false."),
    (r"must be a whole number", "Write digits alone."),
    (r"must be text, not a list or a map", "Write one text, in quotes where it holds colons or brackets."),
    (r"must have a value", "Give it one, or leave the key out."),
    (r"must not be empty", "Leave the item out."),
    (r"must not hold the NUL character|must be valid Unicode", "Remove that character."),
    (r"the required key is missing", "Add it."),
    (
        r"must be the key hash of a CAS, .*",
        "Copy it whole, or leave cas_key out: CAS is then attested under tolerance.",
    ),
    (r"must be 32 bytes in hex .*", "Copy what `scone cas show-identification --session-encryption-key` prints."),
    (r"two .*", "Keep one of them, or give one another name."),
    (r".*not closed.*", "Close it."),
)
_BY_RULE_COMPILED = tuple((re.compile(pattern, re.DOTALL), fix) for pattern, fix in _BY_RULE)
_ANY = "Write it as docs/compatibility.md has it, or leave it out."


def advised(problems: Sequence[Problem]) -> list[Problem]:
    """The same problems; those without a fix have one: what to do by the rule, and an example of the key."""
    return [problem if problem.fix else replace(problem, fix=_fix(problem)) for problem in problems]


def placed(problems: Sequence[Problem], model: type[BaseModel]) -> list[Problem]:
    """The same problems; of an unknown key that another section knows, they say which one does."""
    return [
        replace(problem, fix=_RENAMED.get(problem.path) or f"It belongs elsewhere: {at}.")
        if problem.rule == _UNKNOWN and (at := _home(problem.path, model))
        else problem
        for problem in problems
    ]


def _home(path: Path, model: type[BaseModel]) -> str:
    """Where a key of this name stands, of the sections that stand once."""
    if path in _RENAMED:
        return _RENAMED[path]
    return next((key for key in EXAMPLES if key.endswith(f".{path[-1]}") and _knows(model, key.split("."))), "")


def _knows(model: type[BaseModel], steps: Sequence[str]) -> bool:
    return steps[0] in {field.alias or name for name, field in model.model_fields.items()}


def _fix(problem: Problem) -> str:
    by_rule = next((fix for pattern, fix in _BY_RULE_COMPILED if pattern.fullmatch(problem.rule)), "")
    # An example of what is around it helps only where nothing else is said.
    lengths = range(len(problem.path), 0, -1) if not by_rule else [len(problem.path)]
    example = next((found for length in lengths if (found := _example(problem.path[:length]))), "")
    return f"{by_rule} For example: {example}".strip() if example else by_rule or _ANY


def _example(path: Path) -> str:
    """The example of a key; the name or number of an item does not matter."""
    steps = [str(step) for step in path]
    keys = (".".join(steps), ".".join([*steps[:1], "*", *steps[2:]]))
    return next((EXAMPLES[key] for key in keys if key in EXAMPLES), "")
