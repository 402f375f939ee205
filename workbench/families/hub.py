"""Getting models from a hub: only the files that are loaded, and errors that say the way out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workbench.families.files import SAFETY_PARTS, components, lacks_checker, variant_of
from workbench.families.locate import (
    LocateError,
    Place,
    add_pins,
    is_offline,
    local_place,
    pins_path,
)
from workbench.families.refs import ModelRef

log = logging.getLogger(__name__)
_SMALL = (".json", ".txt", ".model")
_UNASKED = ("safety_checker",)
_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore")


def fetch(ref: ModelRef, place: Place, models: str | Path | None = None) -> Place:
    """Download a hub model into the hub's cache and say where it lies; no-op for a local one.

    The commit of a model whose revision the catalogue leaves open is pinned (in the file that
    belongs to the folder `models`), so that later runs load the same one.

    Of a model that is single files (`NetworkRef.files`) those are fetched, else the whole of it.
    Loading always reads a folder, so downloaded models take the very path of local ones.
    Raises LocateError with the way out.
    """
    if place.folder is not None:
        return place
    revision = place.revision or None
    files = getattr(ref, "files", ())
    found = _fetch_files(ref, files, revision) if files else _fetch_model(ref, revision)
    if not ref.revision:
        _pin(ref.repo, found.revision, pins_path(models))
    return found


def _pin(repo: str, commit: str, path: Path) -> None:
    try:
        is_new = add_pins(path, {repo: commit})
    except (OSError, ValueError) as error:
        log.warning("%s at %s could not be pinned: %s", repo, commit, error)
        return
    if is_new:
        log.warning("%s is pinned at %s in %s: later runs load the same", repo, commit, path)


def _fetch_model(ref: ModelRef, revision: str | None) -> Place:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    with hub_errors(ref):
        files = HfApi().list_repo_files(ref.repo, revision=revision)
        index = f"{ref.subfolder}/model_index.json" if ref.subfolder else "model_index.json"
        parts: Sequence[str] = ()
        if index in files:
            found = hf_hub_download(ref.repo, index, revision=revision)
            parts = components(Path(found).parent)
        wanted = wanted_files(files, ref, parts)
        if not any(variant_of(name.rpartition("/")[2]) is not None for name in wanted):
            raise LocateError(f"{ref.repo} has no safetensors weights, and others are not loaded")
        folder = Path(snapshot_download(ref.repo, revision=revision, allow_patterns=wanted))
    return local_place(ref, folder / ref.subfolder, folder.name)


def fetch_checker(ref: ModelRef, place: Place, models: str | Path | None = None) -> Place:
    """A base model's folder with its safety checker, which is fetched only when it is asked for.

    A plain folder, and any folder while the network must not be used, stays as it is. Raises
    LocateError with the way out.
    """
    found = fetch(ref, place, models)
    can_fetch = ref.repo and found.revision and not is_offline()
    if found.folder is None or not can_fetch or not lacks_checker(found.folder):
        return found
    from huggingface_hub import HfApi, snapshot_download

    with hub_errors(ref):
        files = HfApi().list_repo_files(ref.repo, revision=found.revision)
        wanted = _checker_files(files, ref)
        if wanted:
            snapshot_download(ref.repo, revision=found.revision, allow_patterns=wanted)
    return found


def hub_has_checker(ref: ModelRef, revision: str) -> bool:
    """Whether a base model on the hub has a safety checker; LocateError if nobody can tell."""
    from huggingface_hub import HfApi

    with hub_errors(ref):
        return bool(_checker_files(HfApi().list_repo_files(ref.repo, revision=revision), ref))


def _checker_files(files: Sequence[str], ref: ModelRef) -> list[str]:
    """The files of a base model's safety checker; none if it lacks some part."""
    inside = f"{ref.subfolder}/" if ref.subfolder else ""
    checker, processor = (f"{inside}{name}/" for name in SAFETY_PARTS)
    wanted = [
        name
        for name in wanted_files(files, ref, SAFETY_PARTS, unasked=())
        if name.startswith((checker, processor))
    ]
    weights = any(variant_of(name.removeprefix(checker)) is not None for name in wanted)
    return wanted if weights and any(name.startswith(processor) for name in wanted) else []


def _fetch_files(ref: ModelRef, files: Sequence[str], revision: str | None) -> Place:
    """Download single files, all of one commit: the first one's, where none is pinned."""
    from huggingface_hub import hf_hub_download

    inside = f"{ref.subfolder}/" if ref.subfolder else ""
    root = Path()
    with hub_errors(ref):
        for name in files:
            root = Path(hf_hub_download(ref.repo, inside + name, revision=revision))
            for _ in Path(inside + name).parts:
                root = root.parent
            revision = root.name
    return local_place(ref, root / ref.subfolder, root.name)


def wanted_files(
    files: Sequence[str],
    ref: ModelRef,
    parts: Sequence[str],
    unasked: Sequence[str] = _UNASKED,
) -> list[str]:
    """The files of a repo that loading needs: those of its components, in the ref's variant.

    `parts` are the components of a pipeline; none for a single model, which is one folder. Those
    that are `unasked` are left out.
    """
    inside = f"{ref.subfolder}/" if ref.subfolder else ""
    folders: dict[str, list[str]] = {}
    for name in files:
        if name.startswith(inside):
            folder, _, _ = name[len(inside) :].rpartition("/")
            if folder == "" or (folder in parts and folder not in unasked):
                folders.setdefault(folder, []).append(name)
    wanted: list[str] = []
    for folder, names in folders.items():
        found = {name: variant_of(name.rpartition("/")[2]) for name in names}
        variant = ref.variant if ref.variant in found.values() else ""
        for name, belongs in found.items():
            weights = belongs == variant and not (parts and folder == "")
            if weights or name.endswith(_SMALL):
                wanted.append(name)
    return sorted(wanted)


def check_access(ref: ModelRef) -> None:
    """Ask the hub whether a model may be downloaded; LocateError says why not."""
    from huggingface_hub import HfApi

    with hub_errors(ref):
        HfApi().auth_check(ref.repo)


class UnreachableError(LocateError):
    """The hub does not answer: asking it for another model is in vain. `reason` says why."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def hub_errors(ref: ModelRef) -> Iterator[None]:
    """Turn the hub's errors into one sentence each, with the way out.

    Raises LocateError, and of its kind UnreachableError where there is no way to the hub.
    """
    from huggingface_hub import errors

    try:
        yield
    except LocateError:
        raise
    except errors.GatedRepoError as error:
        raise LocateError(
            f"{ref.repo} is gated: accept its licence on https://huggingface.co/{ref.repo} and "
            "sign in once with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise LocateError(
            f"the hub has no {ref.repo}, or it is private: look at "
            f"https://huggingface.co/{ref.repo}, or sign in with: hf auth login"
        ) from error
    except errors.EntryNotFoundError as error:
        at = f" at revision {ref.revision}" if ref.revision else ""
        reason = " ".join(str(error).split())[:200]
        raise LocateError(
            f"{ref.repo}{at} lacks a file that is needed ({reason}): mend the catalogue entry, "
            f"or copy the file to PATH/{ref.repo} and give --models PATH"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise LocateError(
            f"{ref.repo} has no revision {ref.revision or 'that is pinned'}: mend the pin"
        ) from error
    except errors.HfHubHTTPError as error:  # the hub has answered
        raise LocateError(_no_way(ref, _reason(error))) from error
    except Exception as error:
        # The HTTP library under huggingface_hub differs by version and has errors of its own.
        library = type(error).__module__.partition(".")[0]
        if not isinstance(error, OSError | RuntimeError) and library not in _HTTP_LIBRARIES:
            raise
        reason = _reason(error)
        raise UnreachableError(_no_way(ref, reason), reason) from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _no_way(ref: ModelRef, reason: str) -> str:
    return (
        f"{ref.repo} cannot be fetched ({reason}): mend the network, or copy the model to "
        f"PATH/{ref.repo} and give --models PATH"
    )
