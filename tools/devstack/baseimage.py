"""The base image `python:3.11-slim`, made of Debian's packages, cached, and pushed into the local registry.

The same packages give the same bytes; which ones were taken stays fixed by the cache until the recipe here changes.
"""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from tools.devstack import files, registry
from tools.devstack.errors import DevstackError
from tools.devstack.oci import Image, Rules, file_digest, normalise
from tools.devstack.paths import Paths
from tools.devstack.steps import Job

REPOSITORY, TAG = "library/python", "3.11-slim"
_SUITE = "bookworm"
_PACKAGES = ("coreutils", "dash", "libpython3-stdlib", "python3", "python3-minimal")
_UNUSED = ("usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "etc/apt")
_RULES = Rules(
    epoch=1_686_355_200,  # the release of Debian 12: any fixed time does
    left_out=("dev", "run", "tmp", "var/cache", "var/lib/apt", "var/lib/dpkg/info", "var/log", "var/tmp", *_UNUSED),
    absent=("etc/hostname", "etc/machine-id", "etc/resolv.conf", *_UNUSED),
    added={
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    },
)
_CHECK = (
    "import ctypes, hashlib, json, os, socket, ssl, sys, time, urllib.request;"
    "hashlib.sha256(b'').hexdigest(); ssl.create_default_context()"
)


def is_ready(paths: Paths) -> bool:
    """Whether the registry has exactly the cached image."""
    folder = _folder(paths)
    return folder.is_dir() and registry.client().digest(REPOSITORY, TAG) == _image(folder).digest


def make(job: Job, paths: Paths) -> None:
    """Build the image, unless it is cached, and push it."""
    with files.locked(
        paths.cache / "baseimage.lock", waiting=lambda: job.say("waiting for another run that builds the base image")
    ):
        folder = _folder(paths)
        if not folder.is_dir():
            files.publish(folder, lambda target: _build(job, target))
    registry.client().push(_image(folder), repository=REPOSITORY, tag=TAG)


def _folder(paths: Paths) -> Path:
    key = files.digest(repr((_SUITE, _PACKAGES, _RULES)), Path(__file__).with_name("oci.py").read_bytes())
    return paths.cache / "baseimage" / f"python-{key[:16]}"


def _image(folder: Path) -> Image:
    return Image(
        layer=folder / "layer.tar",
        layer_digest=(folder / "layer.digest").read_text(),
        environment=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"),
        command=("python3",),
    )


def _build(job: Job, folder: Path) -> None:
    raw = folder / "raw.tar"
    options = ("--quiet", "--variant=extract", f"--include={','.join(_PACKAGES)}")
    job.command(
        "mmdebstrap",
        *options,
        _SUITE,
        raw,
        environment={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(_RULES.epoch)},
    )
    with (folder / "layer.tar").open("wb") as layer:
        normalise(raw, layer, rules=_RULES)
    raw.unlink()
    _try(job, folder)
    files.write(folder / "layer.digest", file_digest(folder / "layer.tar"))


def _try(job: Job, folder: Path) -> None:
    """Run the image's Python on what we will need of it: better here than in a pod."""
    job.say("trying the image's Python")
    root = Path(tempfile.mkdtemp(dir=folder))
    with tarfile.open(folder / "layer.tar") as layer:
        layer.extractall(root, filter="fully_trusted") if hasattr(tarfile, "data_filter") else layer.extractall(root)  # noqa: S202 - our own
    try:
        root.chmod(0o755)
        job.command("chroot", "--userspec=65534:65534", root, "/usr/bin/env", "-i", "/usr/bin/python3", "-c", _CHECK)
        job.command("chroot", root, "/bin/sh", "-c", "ls / > /dev/null")
    except DevstackError as error:
        raise DevstackError(f"the base image cannot run: {error.what}", fix="report this with the log") from None
    shutil.rmtree(root)
