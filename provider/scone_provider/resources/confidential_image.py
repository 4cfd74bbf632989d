"""`ConfidentialImage`: one image, predicted in `check` to the last bit, pushed by digest, removed only when asked to."""

from typing import cast

from pulumi.output import UNKNOWN

from scone_policy.holes import has_hole
from scone_provider.resources._engine import Props, SconeProvider, Unknowns, checked


class ConfidentialImageProvider(SconeProvider):
    """Plans in `check`, pushes in `create` and `update`, looks in `read`, removes in `delete` where asked to.

    Inputs are the fields of `ImageInputs` by name, with maps for lists, `from` (the base as asked for), `delete_images`,
    `refresh_base`, and `preview`, which `check` consumes: it alone may leave what cannot be known yet unknown.
    `check` adds `base` (locked), `files` (fingerprints), `measurement`, `fspf_tag`, `digest` and `reference`.
    Outputs add `pushed`: digests that this stack brought into the registry.
    """

    replace_on = ("identity",)

    @checked
    def check(self, olds: Props, news: Props) -> Props:
        """Everything there is to know about the image, without building or pushing it."""
        unknowns = Unknowns()
        hidden = cast("Props", unknowns.hide(news))
        preview = bool(hidden.pop("preview", False))
        inputs = {key: value for key, value in hidden.items() if key != "__provider"}
        if has_hole(inputs):
            computed: Props = dict.fromkeys(("files", "measurement", "fspf_tag", "digest", "reference"), UNKNOWN)
            return cast("Props", unknowns.show(inputs | computed))
        base = self._base(olds, inputs, preview=preview)
        if base is None:
            computed = dict.fromkeys(("base", "files", "measurement", "fspf_tag", "digest", "reference"), UNKNOWN)
            return inputs | computed
        return inputs | {"base": base.to_dict()} | self._facts(inputs, base, preview=preview)
