"""Reads catalogues: the one in this package, and folders of a team's own, which come first."""

from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from scone_policy.syntax.problems import problems_of
from scone_policy.syntax.suggestions import with_suggestions
from scone_policy.syntax.yaml_source import load
from scone_provider.catalogue.entry import Description, Entry
from scone_provider.errors import ManifestError
from scone_provider.file_errors import file_errors, file_problem
from scone_provider.manifest.advice import advised
from scone_provider.manifest.findings import stop

DESCRIPTION, MANIFEST, POLICY, VALUES = "entry.yaml", "service.yaml", "policy.yaml", "values.yaml"
_LARGEST = 1 << 20
_MOST = 512


def load_catalogue(folders: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Every entry, those of `folders` (relative to the program) before the package's own.

    Raises ManifestError, with file and line, for what cannot be read or is no entry.
    """
    own: list[Entry] = []
    for folder in folders:
        with file_errors(f"the folder {folder} cannot be read", where="catalogue", kind=ManifestError):
            own += _folder(Path(folder), folder, shipped=False)
    return (*own, *_folder(resources.files(__package__) / "services", "catalogue", shipped=True))


def _folder(folder: Traversable, named: str, *, shipped: bool) -> Iterator[Entry]:
    if not folder.is_dir():
        raise ManifestError(
            f"{named} is no folder", where="catalogue", fix="Name a folder that holds one folder for each service."
        )
    found = sorted((item for item in folder.iterdir() if (item / DESCRIPTION).is_file()), key=lambda item: item.name)
    if not found:
        raise ManifestError(
            f"{named} holds no folder with an {DESCRIPTION}",
            where="catalogue",
            fix="Name the folder above those of the services (docs/curated-services.md).",
        )
    if len(found) > _MOST:
        raise ManifestError(
            f"{named} holds more than {_MOST} entries", where="catalogue", fix="Name the folder of a smaller catalogue."
        )
    for item in found:
        yield _entry(item, f"{named}/{item.name}", "." if shipped else str(Path(named) / item.name))


def _entry(item: Traversable, named: str, folder: str) -> Entry:
    text = _text(item / DESCRIPTION, f"{named}/{DESCRIPTION}")
    document = load(text, file=f"{named}/{DESCRIPTION}", error=ManifestError)
    try:
        description = Description.model_validate(document.data)
    except ValidationError as error:
        stop(advised(with_suggestions(problems_of(error), Description)), document)
        raise AssertionError("a model was refused without a problem") from None
    description.remember(document)
    return Entry(
        name=item.name,
        folder=folder,
        files=named,
        description=description,
        manifest=_text(item / MANIFEST, f"{named}/{MANIFEST}"),
        policy=_text(item / POLICY, f"{named}/{POLICY}") if (item / POLICY).is_file() else None,
        values=_text(item / VALUES, f"{named}/{VALUES}") if (item / VALUES).is_file() else None,
    )


def _text(file: Traversable, named: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ManifestError("the file is larger than 1 MiB", where=named, fix="Is it the right file?")
        return content.decode()
    except UnicodeDecodeError:
        raise ManifestError("the file is not UTF-8 text", where=named, fix="Save it as UTF-8.") from None
    except OSError as error:
        fix = "An entry needs it (docs/curated-services.md)." if isinstance(error, FileNotFoundError) else ""
        raise file_problem(error, "the file cannot be read", where=named, fix=fix, kind=ManifestError) from None
