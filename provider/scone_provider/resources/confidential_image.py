"""`ConfidentialImage`: one image, predicted in `check` to the last bit, pushed by digest, removed only on request."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import wrap_rpc_secret

from scone_policy.syntax import command_line
from scone_policy.syntax.holes import has_hole
from scone_provider.errors import ImageError
from scone_provider.file_errors import resolved
from scone_provider.image.base.cache import BaseCache
from scone_provider.image.base.locked_base import LockedBase
from scone_provider.image.base.resolve import resolve_base
from scone_provider.image.build.inputs import PATH_KEYS, ImageInputs, within
from scone_provider.image.build.layout import wanted_paths
from scone_provider.image.build.native_stage import native_reference
from scone_provider.image.build.plan import (
    ImagePlan,
    ImageSummary,
    KeylessPlan,
    fingerprints,
    plan_image,
    plan_without_key,
)
from scone_provider.image.build.source_files import scan_source
from scone_provider.image.launcher import launcher_bytes
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.protection.measurement import MeasuredEnvironment
from scone_provider.image.publish.cosign import parse_key, public_pem, push_signature, read_key, stack_key
from scone_provider.image.publish.push import alone, image_exists, push_image
from scone_provider.image.registry.errors import RegistryUnavailableError
from scone_provider.resources._engine import Props, SconeProvider, Unknowns, checked, clean, warn
from scone_provider.resources._images import OWNERSHIP, check_demanded, claimed, let_go, public_name, registry_of, tell

_WITH_KEY = ("files", "fspf_tag", "digest", "reference")
_COMPUTED = (*_WITH_KEY, "measurement")
_FEW = 5


class ConfidentialImageProvider(SconeProvider):
    """Plans in `check`, pushes in `create` and `update`, looks in `read`, removes in `delete` where asked to.

    Inputs are those of `scone_provider.derive.image`, `delete_images`, `refresh_base`, `demanded` (the only digest that
    is right), and three that `check` consumes: `secret` (`to`, `from`: which of them is a Pulumi secret),
    `preview`, because only a preview may leave unknown what cannot be known yet (docs/adr/002-preview-flag.md), and
    `where`, the lines of the manifest, whose numbers must not make a difference.
    `check` adds `signature.public_key`, `base` (locked), `files` (path → keyed fingerprint), `measurement`, `fspf_tag`,
    `digest`, `reference`.
    Outputs add those of `OWNERSHIP`: which images are this resource's to remove.
    """

    replace_on = ("identity",)
    delete_before_replace = False  # pods run the old one until the new one is there

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Everything there is to know about the image, without building or pushing it."""
        unknowns = Unknowns()
        inputs = unknowns.hide(news)
        preview, where = bool(inputs.pop("preview", False)), cast("Mapping[str, str]", inputs.pop("where", None) or {})
        secret = inputs.pop("secret", None)
        public_name(secret, where=where.get("to", "build.to"))
        inputs = {key: value for key, value in inputs.items() if key not in _COMPUTED and key != "base"}
        unknown = dict.fromkeys(("base", *_COMPUTED), UNKNOWN)
        if has_hole({key: value for key, value in inputs.items() if key != "from"}):
            return unknowns.show(inputs) | unknown
        wanted = _image_inputs(inputs, where)
        if preview:
            _warn_of_private(wanted)
        inputs = self._with_public_key(inputs, wanted, where, preview=preview)
        base = None if has_hole(inputs["from"]) else self._base(olds, inputs, wanted, preview=preview)
        if base is None:
            # The files depend on no base: which of them changed is known all the same.
            return unknowns.show(inputs) | unknown | {"files": self._files(wanted)}
        if self.settings.image_key is None and preview:
            facts = plan_without_key(wanted, base, launcher=launcher_bytes())
            _tell_notes(facts)
            return inputs | {"base": _locked(base, secret)} | _known_without_key(facts)
        plan = self._plan(wanted, base)
        check_demanded(inputs, plan.digest, where=where.get("demanded", "image"))
        if preview:
            _tell_notes(plan)
        return inputs | {"base": _locked(base, secret)} | _known(plan)

    @clean
    def create(self, props: Props) -> CreateResult:
        """Push what `check` planned."""
        return CreateResult(str(props["reference"]), self._push(props, olds={}))

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """Push the new image beside the old one, which pods may still run."""
        return UpdateResult(self._push(news, olds=olds))

    @clean
    def read(self, id_: str, props: Props) -> ReadResult:
        """The image as it was pushed; an image that is not in the registry any more is gone."""
        if not image_exists(str(props["reference"]), registry=registry_of(self.settings)):
            return ReadResult("", {})
        inputs = {key: value for key, value in props.items() if key not in OWNERSHIP | {"__provider"}}
        return ReadResult(id_, dict(props), inputs)

    @clean
    def delete(self, _id: str, props: Props) -> None:
        """Remove what no other resource uses, where `delete_images` asks for it."""
        if props.get("delete_images"):
            let_go(props, registry=registry_of(self.settings))

    def _files(self, wanted: ImageInputs) -> dict[str, object]:
        key = self.settings.image_key
        if key is None:
            return dict.fromkeys((file.path for file in wanted.source.files), UNKNOWN)
        return dict(fingerprints(wanted, image_key=key))

    def _push(self, props: Props, *, olds: Mapping[str, object]) -> Props:
        base = LockedBase.from_dict(cast("Mapping[str, object]", props["base"]))
        plan = self._plan(_image_inputs(props), base)
        if plan.digest != props["digest"]:
            raise ImageError(
                "the files changed since this deployment was planned; nothing was pushed",
                where=f"{plan.name}: build.copy",
                fix="run `pulumi up` again",
            )
        registry = registry_of(self.settings)
        cache = BaseCache()
        with alone(plan.reference, cache):
            brings = not image_exists(plan.pinned, registry=registry, write=True)
            ours = claimed(olds, plan.pinned, plan.reference, registry=registry, brings=brings)
            if native := _native_image(props):
                ours = claimed(
                    {**olds, **ours}, native, native_reference(plan.reference), registry=registry, brings=True
                )
            push_image(plan, base, registry=registry, cache=cache, progress=tell)
            key = self._signing_key(props, {})
            if key is not None and push_signature(plan.pinned, key, registry=registry):
                tell(f"{plan.reference}: signed")
        return props | ours

    def _with_public_key(self, inputs: Props, wanted: ImageInputs, where: Mapping[str, str], *, preview: bool) -> Props:
        """`inputs` whose `signature` names the public key: another key is a change that a preview shows."""
        signature = inputs.get("signature")
        if not isinstance(signature, Mapping):
            return inputs
        file = signature.get("key")
        if file and any(
            source.origin == resolved(Path(str(inputs["folder"]), str(file)), where=wanted.place("signature"))
            for source in wanted.source.files
        ):
            raise ImageError(
                "the signing key would be copied into the image",
                where=wanted.place("signature"),
                fix="keep it in a folder that `copy` does not name, or leave it out by .dockerignore",
            )
        if preview and not file and self.settings.image_key is None and self.settings.signing_key_text is None:
            return inputs | {"signature": {**signature, "public_key": UNKNOWN}}
        key = self._signing_key(inputs, where)
        assert key is not None
        return inputs | {"signature": {**signature, "public_key": public_pem(key)}}

    def _signing_key(self, inputs: Props, where: Mapping[str, str]) -> EllipticCurvePrivateKey | None:
        """The key of the manifest's file, else the stack's, else the one that its image key gives."""
        signature = inputs.get("signature")
        if not isinstance(signature, Mapping):
            return None
        settings = self.settings
        if signature.get("key"):
            path = Path(str(inputs["folder"]), str(signature["key"]))
            return read_key(path, where=where.get("signature", f"{inputs['name']}: signature"))
        if settings.signing_key_text is not None:
            return parse_key(settings.signing_key_text.encode(), where="scone:signingKey")
        return stack_key(settings.require_image_key())

    def _plan(self, wanted: ImageInputs, base: LockedBase) -> ImagePlan:
        return plan_image(wanted, base, image_key=self.settings.require_image_key(), launcher=launcher_bytes())

    def _base(self, olds: Props, inputs: Props, wanted: ImageInputs, *, preview: bool) -> LockedBase | None:
        """The base that is locked already, else the one that the tag means now; None when a preview cannot know."""
        asked, program, paths, binaries = str(inputs["from"]), wanted.program, wanted_paths(wanted), wanted.binaries
        locked = olds.get("base")
        try:
            kept = None
            if isinstance(locked, Mapping) and locked.get("reference") == asked and not inputs.get("refresh_base"):
                kept = LockedBase.from_dict(locked)
                if kept.knows(program=program, paths=paths, binaries=binaries):
                    return kept
            return resolve_base(
                asked,
                program=program,
                registry=registry_of(self.settings),
                cache=BaseCache(),
                locked=kept,
                paths=paths,
                binaries=binaries,
                progress=tell,
            )
        except RegistryUnavailableError as error:
            if not preview:
                raise
            warn(f"{asked}: what depends on this base is unknown until it was seen once: {error}")
            return None


def _locked(base: LockedBase, secret: object) -> object:
    """The base for the state, which names it: as secret as the reference was that the program gave."""
    found = base.to_dict()
    return wrap_rpc_secret(found) if isinstance(secret, Mapping) and secret.get("from") else found


def _image_inputs(inputs: Props, where: Mapping[str, str] | None = None) -> ImageInputs:
    environment = cast("Mapping[str, str]", inputs.get("environment") or {})
    words = command_line.split(str(inputs["command"]))
    pwd = str(inputs.get("pwd") or "/")
    return ImageInputs(
        name=str(inputs["name"]),
        to=str(inputs["to"]),
        program=words[0],
        pwd=pwd,
        source=scan_source(Path(str(inputs["folder"])), _names(inputs, "copy"), into=pwd, places=where),
        injected=_names(inputs, "injected"),
        binaries=_names(inputs, "binaries"),
        environment=_measured(environment),
        cas_key=str(inputs["cas_key"]) if inputs.get("cas_key") else None,
        native_stage=bool(inputs.get("native_stage")),
        image_defaults=inputs.get("kind") == "sconify_image",
        places=where or {},
        **{key: _names(inputs, key) for key in PATH_KEYS},
    )


def _native_image(props: Props) -> str | None:
    """Name and digest of the image that the native stage made for this one alone."""
    reference = parse_reference(str(props["from"])) if props.get("native_stage") else None
    return f"{reference.name}@{reference.digest}" if reference and reference.digest else None


def _measured(environment: Mapping[str, str]) -> MeasuredEnvironment:
    given = {
        field: environment[variable]
        for field, variable in (("heap", "SCONE_HEAP"), ("stack", "SCONE_STACK"), ("dlopen", "SCONE_ALLOW_DLOPEN"))
        if variable in environment
    }
    return replace(MeasuredEnvironment(), **given)


def _names(inputs: Props, key: str) -> tuple[str, ...]:
    return tuple(sorted(cast("Mapping[str, object]", inputs.get(key) or {})))


def _known(plan: ImagePlan) -> Props:
    return {
        "files": dict(plan.fingerprints),
        "fspf_tag": plan.fspf_tag,
        "digest": plan.digest,
        "reference": plan.pinned,
        "measurement": plan.measurement,
    }


def _known_without_key(facts: KeylessPlan) -> Props:
    name = str(parse_reference(facts.reference)).rpartition(":")[0]
    warn(f"{name}: {facts.reason}")
    return dict.fromkeys(_WITH_KEY, UNKNOWN) | {
        "files": dict.fromkeys(facts.files, UNKNOWN),
        "measurement": facts.measurement,
    }


def _warn_of_private(wanted: ImageInputs) -> None:
    """One line for the files that only their owner may read here: modes in images know no owner."""
    private = [file for file in wanted.source.files if file.private]
    if not private:
        return
    clear = [file.path for file in private if not within(file.path, wanted.dirs)]
    places = ", ".join(file.path for file in private[:_FEW]) + (" and others" if len(private) > _FEW else "")
    why = "whoever may pull the image can read what is not below `dirs`" if clear else "they are encrypted all the same"
    warn(
        f"{wanted.name}: only their owner may read these files here; in the image each has the mode 0644 or 0755, "
        f"and {why}: {places} ({wanted.place('copy')})"
    )


def _tell_notes(facts: ImageSummary) -> None:
    for note in facts.notes:
        tell(f"{facts.name}: {note}")
