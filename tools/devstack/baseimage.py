"""The images that others build on, made of Debian's packages, cached, and pushed into the local registry.

The same packages give the same bytes; which ones were taken stays fixed by the cache until the recipe changes.
"""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.devstack import files, registry
from tools.devstack.errors import DevstackError
from tools.devstack.oci import Image, file_digest, normalise
from tools.devstack.paths import Paths
from tools.devstack.recipes import EPOCH, Recipe
from tools.devstack.steps import Job

SECONDS = 10.0  # to make one
_SUITE = "bookworm"
_NOBODY = "65534:65534"


def is_ready(paths: Paths, recipes: Sequence[Recipe]) -> bool:
    """Whether the registry has exactly the cached images."""
    known = registry.client()
    return all(
        _folder(paths, recipe).is_dir()
        and {known.digest(recipe.repository, tag) for tag in recipe.tags} == {_image(paths, recipe).digest}
        for recipe in recipes
    )


def make(job: Job, paths: Paths, recipes: Sequence[Recipe]) -> None:
    """Build every image that is not cached, and push it."""
    for recipe in recipes:
        job.say(recipe.name)
        lock = paths.cache / f"baseimage-{recipe.name}.lock"
        with files.locked(lock, waiting=lambda: job.say("waiting for another run that builds base images")):
            folder = _folder(paths, recipe)
            if not folder.is_dir():
                _publish(job, recipe, folder)
        for tag in recipe.tags:
            registry.client().push(_image(paths, recipe), repository=recipe.repository, tag=tag)


def _publish(job: Job, recipe: Recipe, folder: Path) -> None:
    files.publish(folder, lambda target: _build(job, recipe, target))


def _folder(paths: Paths, recipe: Recipe) -> Path:
    key = files.digest(repr((_SUITE, recipe.packages, recipe.rules)), Path(__file__).with_name("oci.py").read_bytes())
    return paths.cache / "baseimage" / f"{recipe.name}-{key[:16]}"


def _image(paths: Paths, recipe: Recipe) -> Image:
    folder = _folder(paths, recipe)
    return Image(
        layer=folder / "layer.tar",
        layer_digest=(folder / "layer.digest").read_text(),
        environment=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"),
        command=recipe.command,
        user=recipe.user,
        directory=f"/{recipe.folders[0]}" if recipe.folders else "",
    )


def _build(job: Job, recipe: Recipe, folder: Path) -> None:
    raw = folder / "raw.tar"
    job.command(
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        f"--include={','.join(recipe.packages)}",
        _SUITE,
        raw,
        environment={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH)},
    )
    with (folder / "layer.tar").open("wb") as layer:
        normalise(raw, layer, rules=recipe.rules)
    raw.unlink()
    _try(job, recipe, folder)
    files.write(folder / "layer.digest", file_digest(folder / "layer.tar"))


def _try(job: Job, recipe: Recipe, folder: Path) -> None:
    """Run the image's programs: better here than in a pod."""
    root = Path(tempfile.mkdtemp(dir=folder))
    with tarfile.open(folder / "layer.tar") as layer:
        layer.extractall(root, filter="fully_trusted") if hasattr(tarfile, "data_filter") else layer.extractall(root)  # noqa: S202 - our own
    try:
        root.chmod(0o755)
        for check in (*recipe.checks, ("/bin/sh", "-c", "ls /")):
            user = recipe.user or _NOBODY
            job.command("chroot", f"--userspec={user}", root, "/usr/bin/env", "-i", "LANG=C.UTF-8", *check)
    except DevstackError as error:
        raise DevstackError(
            f"the image {recipe.name} cannot run: {error.what}", fix="report this with the log"
        ) from None
    shutil.rmtree(root)
