import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools.devstack.oci import Image, Rules, file_digest, normalise
from tools.devstack.recipes import SERVICES, Recipe

PASSWD = "root:x:0:0::/root:/bin/sh\n"
Member = tuple[str, bytes, bytes]
RULES = Rules(
    epoch=1_000_000,
    left_out=("dev", "var/cache"),
    absent=("etc/hostname",),
    added={"etc/passwd": PASSWD},
)


def tar_of(path: Path, members: list[Member], *, mtime: int = 0, owner: str = "", reverse: bool = False) -> Path:
    """A tar of (name, kind, content or target) as a package tool would write it."""
    with tarfile.open(path, "w") as archive:
        for name, kind, content in reversed(members) if reverse else members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.uname, info.mode = kind, mtime, owner, 0o755
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content.decode()
            elif kind == tarfile.REGTYPE:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


def layer(source: Path, target: Path) -> Path:
    with target.open("wb") as file:
        normalise(source, file, rules=RULES)
    return target


def read(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {member.name: member for member in archive.getmembers()}


ROOT = [
    ("./", tarfile.DIRTYPE, b""),
    ("./bin/", tarfile.DIRTYPE, b""),
    ("./bin/sh", tarfile.REGTYPE, b"shell"),
    ("./lib/libc.so.6", tarfile.REGTYPE, b"libc"),
    ("./usr/bin/python3", tarfile.SYMTYPE, b"python3.11"),
    ("./usr/bin/python3.11", tarfile.REGTYPE, b"python"),
    ("./bin/dash", tarfile.LNKTYPE, b"./bin/sh"),
    ("./dev/null", tarfile.CHRTYPE, b""),
    ("./dev/", tarfile.DIRTYPE, b""),
    ("./var/cache/apt/x", tarfile.REGTYPE, b"rubbish"),
    ("./etc/hostname", tarfile.REGTYPE, b"this-machine"),
    ("./etc/passwd", tarfile.REGTYPE, b"other"),
    ("./usr/lib/python3/__pycache__/a.pyc", tarfile.REGTYPE, b"compiled"),
    ("./.hidden", tarfile.REGTYPE, b"kept"),
]


def test_same_tree_same_digest(tmp_path: Path) -> None:
    """Order, times and user names of the source tar do not reach the layer."""
    one = layer(tar_of(tmp_path / "a.tar", ROOT, mtime=1, owner="me"), tmp_path / "a")
    two = layer(tar_of(tmp_path / "b.tar", ROOT, mtime=2**31, owner="you"), tmp_path / "b")
    assert file_digest(one) == file_digest(two)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    files=st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}", fullmatch=True), st.binary(max_size=50)),
    turned=st.booleans(),
)
def test_order_never_matters_and_content_always_does(tmp_path: Path, *, files: dict[str, bytes], turned: bool) -> None:
    """For any tree the order of members is lost and every byte of content kept."""
    members = [(name, tarfile.REGTYPE, content) for name, content in files.items()]
    one = layer(tar_of(tmp_path / "a.tar", members), tmp_path / "a")
    two = layer(tar_of(tmp_path / "b.tar", members, reverse=turned), tmp_path / "b")
    assert one.read_bytes() == two.read_bytes()
    if files:
        name, content = next(iter(files.items()))
        changed = [(name, tarfile.REGTYPE, content + b"!"), *members[1:]]
        three = layer(tar_of(tmp_path / "c.tar", changed), tmp_path / "c")
        wanted = not name.startswith("dev/") and not name.startswith("var/cache/")
        assert (three.read_bytes() != one.read_bytes()) == wanted


def test_folders_are_merged_into_usr(tmp_path: Path) -> None:
    """Programs and libraries lie below /usr as on Debian, with links in the old places, hard links included."""
    found = read(layer(tar_of(tmp_path / "a.tar", ROOT), tmp_path / "a"))
    for name in ("bin", "sbin", "lib", "lib64"):
        assert found[name].issym()
        assert found[name].linkname == f"usr/{name}"
        assert found[f"usr/{name}"].isdir()
    assert found["usr/bin/sh"].isreg()
    assert found["usr/bin/dash"].linkname == "usr/bin/sh"
    assert found["usr/lib/libc.so.6"].isreg()


def test_what_a_machine_leaves_behind_is_not_in_the_layer(tmp_path: Path) -> None:
    """Devices, caches, compiled files and this machine's name stay out; hidden files are kept."""
    found = read(layer(tar_of(tmp_path / "a.tar", ROOT), tmp_path / "a"))
    assert not {"dev/null", "var/cache/apt/x", "etc/hostname", "usr/lib/python3/__pycache__/a.pyc"} & set(found)
    assert ".hidden" in found
    assert {member.mtime for member in found.values()} == {1_000_000}
    assert list(found) == sorted(found)


def test_added_files_replace_what_was_there(tmp_path: Path) -> None:
    """The recipe's own text wins."""
    path = layer(tar_of(tmp_path / "a.tar", ROOT), tmp_path / "a")
    with tarfile.open(path) as archive:
        content = archive.extractfile("etc/passwd")
        assert content is not None
        assert content.read() == PASSWD.encode()


@pytest.mark.parametrize("name", ["../../etc/shadow", "/abs/file"])
def test_no_member_leaves_the_root(tmp_path: Path, name: str) -> None:
    """Names that climb or are absolute end up inside the root."""
    found = read(layer(tar_of(tmp_path / "a.tar", [(name, tarfile.REGTYPE, b"x")]), tmp_path / "a"))
    assert not [member for member in found if member.startswith(("/", ".."))]


def test_an_image_describes_its_layer(tmp_path: Path) -> None:
    """Manifest and config name the layer's digest and size, and the image's digest is that of the manifest."""
    path = layer(tar_of(tmp_path / "a.tar", ROOT), tmp_path / "a")
    image = Image(layer=path, layer_digest=file_digest(path), environment=("PATH=/usr/bin",), command=("python3",))
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert manifest["layers"] == [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": file_digest(path),
            "size": path.stat().st_size,
        }
    ]
    assert config["rootfs"]["diff_ids"] == [file_digest(path)]
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(image.config).hexdigest()}"
    assert image.digest == f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    assert config["config"] == {"Cmd": ["python3"], "Env": ["PATH=/usr/bin"]}


def test_a_joined_file_holds_a_folders_files_in_order(tmp_path: Path) -> None:
    """Certificates come as one file, in the order of their names, also where their folder itself is left out."""
    rules = Rules(epoch=1, absent=("usr/certs",), left_out=("usr/certs",), joined={"etc/all.crt": "usr/certs"})
    members = [("usr/certs/b.crt", tarfile.REGTYPE, b"B"), ("usr/certs/a.crt", tarfile.REGTYPE, b"A")]
    members += [("usr/certs-not/c.crt", tarfile.REGTYPE, b"C"), ("usr/certs/link", tarfile.SYMTYPE, b"a.crt")]
    with (tmp_path / "layer").open("wb") as file:
        normalise(tar_of(tmp_path / "a.tar", members), file, rules=rules)
    with tarfile.open(tmp_path / "layer") as archive:
        content = archive.extractfile("etc/all.crt")
        assert content is not None
        assert content.read() == b"AB"
        assert not [name for name in archive.getnames() if name.startswith("usr/certs/")]


def test_a_service_owns_its_folders(tmp_path: Path) -> None:
    """A folder to write into belongs to the service's user; everything else is as the packages have it."""
    with (tmp_path / "layer").open("wb") as file:
        normalise(tar_of(tmp_path / "a.tar", ROOT), file, rules=Rules(epoch=1, folders={"data": 999}))
    found = read(tmp_path / "layer")
    assert (found["data"].uid, found["data"].gid, found["data"].isdir()) == (999, 999, True)
    assert {member.uid for name, member in found.items() if name != "data"} == {0}


@pytest.mark.parametrize("recipe", SERVICES, ids=lambda recipe: recipe.name)
def test_a_services_image_runs_as_its_own_user(tmp_path: Path, recipe: Recipe) -> None:
    """User and group are known in the image by the number that its configuration names, and are never root's."""
    name, number = recipe.owner or ("", 0)
    assert number > 0
    assert f"{name}:x:{number}:{number}:" in recipe.rules.added["etc/passwd"]
    assert f"{name}:x:{number}:\n" in recipe.rules.added["etc/group"]
    path = layer(tar_of(tmp_path / "a.tar", ROOT), tmp_path / "a")
    image = Image(layer=path, layer_digest=file_digest(path), user=recipe.user, command=recipe.command)
    assert json.loads(image.config)["config"] == {"Cmd": list(recipe.command), "User": f"{number}:{number}"}
