"""`VendorImage`: an image that a builder command around another toolchain makes; known once it was made."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

from pulumi.dynamic import CreateResult, ReadResult, UpdateResult
from pulumi.output import UNKNOWN

from scone_policy.model.services import MARKER
from scone_policy.syntax.holes import has_hole
from scone_provider.errors import ImageError
from scone_provider.file_errors import resolved
from scone_provider.image.build.native_stage import read_requirements
from scone_provider.image.build.source_files import scan_source
from scone_provider.image.build.vendor_builder import Builder
from scone_provider.image.oci.reference import parse_reference
from scone_provider.image.protection.image_keys import derive_keys
from scone_provider.image.publish.cosign import read_key_file
from scone_provider.image.publish.push import image_exists, tag_digest
from scone_provider.image.registry.client import Registry
from scone_provider.policy.state import seal_fspf_key
from scone_provider.resources._engine import Props, SconeProvider, Unknowns, checked, clean
from scone_provider.resources._images import OWNERSHIP, check_demanded, claimed, let_go, public_name, registry_of, tell

_COMPUTED = ("files", "reference", "measurement", "fspf_tag", "key")


class VendorImageProvider(SconeProvider):
    """Looks at the sources in `check`, has the image built in `create` and `update`.

    Inputs: `identity`, `to`, `manifest` (the document), `folder`, `copy`, `requirements` (a file), `signature`,
    `builder` (the command's words by number), `native_image`, `delete_images`, `demanded`, and `where`, as of
    ConfidentialImage. `check` adds `files`: keyed fingerprints of what is copied, by its absolute path in the image,
    and of requirements and signing key, by their path relative to the folder. Outputs add `reference`, `measurement`,
    `fspf_tag`, `key` (what stands for the key in a policy: sealed under the stack's image key) and `OWNERSHIP`.
    """

    replace_on = ("identity",)
    delete_before_replace = False  # pods run the old one until the new one is there

    @checked
    def check(self, _olds: Props, news: Props) -> Props:
        """What the image is made of: another source is another image."""
        unknowns = Unknowns()
        inputs = unknowns.hide({key: value for key, value in news.items() if key not in _COMPUTED})
        where = cast("Mapping[str, str]", inputs.pop("where", None) or {})
        public_name(inputs.pop("secret", None), where=where.get("to", "build.to"))
        Builder(_words(inputs), tell=tell)
        sources = _sources(inputs, where)
        image_key = self.settings.image_key
        if image_key is None or has_hole(inputs["to"]):
            return unknowns.show(inputs) | {"files": dict.fromkeys(sources, UNKNOWN)}
        return unknowns.show(inputs) | {"files": _fingerprints(sources, image_key, str(inputs["to"]))}

    @clean
    def create(self, props: Props) -> CreateResult:
        """Have it built."""
        outputs = self._build(props, olds={})
        return CreateResult(str(outputs["reference"]), outputs)

    @clean
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        """Have the new one built beside the old one, which pods may still run."""
        return UpdateResult(self._build(news, olds=olds))

    @clean
    def read(self, id_: str, props: Props) -> ReadResult:
        """The image as it was built; one that is not in the registry any more is gone."""
        if not image_exists(str(props["reference"]), registry=registry_of(self.settings)):
            return ReadResult("", {})
        drop = {*_COMPUTED, *OWNERSHIP, "__provider"} - {"files"}
        return ReadResult(id_, dict(props), {key: value for key, value in props.items() if key not in drop})

    @clean
    def delete(self, _id: str, props: Props) -> None:
        """Remove what was built and no other resource uses, where `delete_images` asks for it."""
        if props.get("delete_images"):
            let_go(props, registry=registry_of(self.settings))

    def _build(self, props: Props, *, olds: Mapping[str, object]) -> Props:
        image_key = self.settings.require_image_key()
        if _fingerprints(_sources(props, {}), image_key, str(props["to"])) != props["files"]:
            raise ImageError(
                "the files changed since this deployment was planned; nothing was built",
                where=f"{props['name']}: build.copy",
                fix="run `pulumi up` again",
            )
        registry = registry_of(self.settings)
        before = _seen(str(props["to"]), registry)
        native, main = props.get("native_image"), props.get("requirements")
        required = read_requirements(Path(str(props["folder"])), str(main), {}) if main else ()
        built = Builder(_words(props), tell=tell).build(
            manifest=cast("Mapping[str, object]", props["manifest"]),
            folder=Path(str(props["folder"])),
            to=str(props["to"]),
            native_image=str(native) if native else None,
            requirements=tuple(required),
            signing_key=_signing_key(props),
        )
        check_demanded(props, parse_reference(built.image).digest, where=f"{props['name']}: image")
        return props | {
            "reference": built.image,
            "measurement": built.measurement,
            "fspf_tag": built.fspf_tag,
            "key": MARKER + seal_fspf_key(image_key, built.fspf_key),
            **_owned(olds, built.image, str(props["to"]), before, registry),
        }


def _seen(to: str, registry: Registry) -> str | None:
    """The digest that the tag has before the builder pushes, empty for none; None where only the builder can see it."""
    try:
        return tag_digest(to, registry=registry) or ""
    except ImageError:
        return None


def _owned(olds: Mapping[str, object], image: str, to: str, before: str | None, registry: Registry) -> Props:
    """The outputs of `OWNERSHIP`; `before` as of `_seen`: who does not know that the image is new did not bring it.

    Raises ImageError when the image was removed between its push and its record.
    """
    brings = before is not None and before != parse_reference(image).digest
    found = claimed(olds, image, to, registry=registry, brings=brings)
    if image in cast("Mapping[str, object]", found["owners"]) and not image_exists(image, registry=registry):
        raise ImageError(
            "the image was removed from its registry while it was built", where=image, fix="run `pulumi up` again"
        )
    return {**found, "pushed": {**cast("Mapping[str, object]", found["pushed"]), image: True}}


def _sources(inputs: Props, where: Mapping[str, str]) -> dict[str, Callable[[], bytes]]:
    """What the image is made of, by path: absolute in the image for what is copied, relative to the folder else."""
    folder = Path(str(inputs["folder"]))
    copy = tuple(sorted(cast("Mapping[str, object]", inputs.get("copy") or {})))
    tree = scan_source(folder, copy, into="/", places=where)
    found: dict[str, Callable[[], bytes]] = {file.path: file.read for file in tree.files}
    if main := inputs.get("requirements"):
        for path, text in read_requirements(folder, str(main), where).items():
            found[path] = partial(bytes, text)
    if key := _signing_key(inputs):
        at = where.get("signature", f"{inputs['name']}: build.signature")
        place = resolved(Path(folder, key), where=at)
        if any(file.origin == place for file in tree.files):
            raise ImageError(
                "the signing key would be copied into the image",
                where=at,
                fix="keep it in a folder that `copy` does not name, or leave it out by .dockerignore",
            )
        found[key] = partial(bytes, read_key_file(Path(folder, key), where=at))
    return found


def _fingerprints(sources: Mapping[str, Callable[[], bytes]], image_key: bytes, to: str) -> dict[str, str]:
    keys = derive_keys(image_key, identity=parse_reference(to).repository)
    return {path: keys.fingerprint(read())[:16] for path, read in sources.items()}


def _signing_key(inputs: Props) -> str | None:
    signature = inputs.get("signature")
    key = signature.get("key") if isinstance(signature, Mapping) else None
    return str(key) if key else None


def _words(inputs: Props) -> list[str]:
    words = cast("Mapping[str, object]", inputs.get("builder") or {})
    return [str(words[number]) for number in sorted(words, key=int)]
