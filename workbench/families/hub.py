"""Getting models from a hub: what must be fetched, how large it is, and only what is loaded.

A repository's list of files is asked for before any of its weights, so that what cannot be had is
said first. Small files come before weights: a model whose weights are all there is complete.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.families.files import (
    NETWORKS,
    PICKLES,
    SAFETY_PARTS,
    components,
    lacks_checker,
    variant_of,
    weight_sets,
)
from workbench.families.locate import (
    LocateError,
    Place,
    add_pins,
    hub_cache,
    is_offline,
    local_place,
    pins_path,
)
from workbench.families.refs import ModelRef

log = logging.getLogger(__name__)
_SMALL = (".json", ".txt", ".model")
_UNASKED = ("safety_checker",)
_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore")
GB = 1e9

Watch = Callable[[str, int], None]
"""Told of a download: the file, and how many of its bytes have arrived since the last call. What it
raises ends the download; files that are complete are kept."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its name with folders, its size in bytes, and the SHA-256 (hex) of
    its content where the hub tells it ("" for small files)."""

    name: str
    bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit, by name."""

    commit: str
    files: Mapping[str, HubFile]


@dataclass(frozen=True)
class Download:
    """What is fetched of one model: at `commit` these `files`, of which `missing` are not in the
    hub's cache yet."""

    ref: ModelRef
    commit: str
    files: tuple[HubFile, ...]
    missing: tuple[HubFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes that are still to come."""
        return sum(file.bytes for file in self.missing)


@dataclass
class Hub:
    """Asks the hub for lists of files, for each repository and revision once."""

    _known: dict[tuple[str, str], Listing] = field(default_factory=dict)

    def listing(self, ref: ModelRef, revision: str) -> Listing:
        """A repository's files; LocateError with the way out if it may not be read."""
        key = ref.repo, revision
        if key not in self._known:
            from huggingface_hub import HfApi

            with hub_errors(ref):
                api = HfApi()
                info = api.model_info(ref.repo, revision=revision or None, files_metadata=True)
                if info.gated:
                    api.auth_check(ref.repo)
            files = (
                HubFile(one.rfilename, int(one.size or 0), one.lfs.sha256 if one.lfs else "")
                for one in info.siblings or ()
            )
            self._known[key] = Listing(str(info.sha), {file.name: file for file in files})
        return self._known[key]

    def plan(self, ref: ModelRef, revision: str) -> Download:
        """What must be fetched of a model; LocateError if the repository lacks what is loaded.

        Nothing is kept on this disk.
        """
        listing = self.listing(ref, revision)
        files = getattr(ref, "files", ())
        if files:
            names = [_inside(ref) + name for name in files]
            absent = [name for name in names if name not in listing.files]
        else:
            parts = self._parts(ref, listing)
            names = wanted_files(tuple(listing.files), ref, parts)
            absent = []
            _require_weights(ref, names, parts, listing)
        if absent:
            raise LocateError(
                f"{ref.repo} at revision {listing.commit} lacks {' and '.join(absent)}: mend the "
                f"catalogue entry, or copy the file to PATH/{ref.repo} and give --models PATH"
            )
        return _download(ref, listing, names)

    def plan_checker(self, ref: ModelRef, revision: str) -> Download | None:
        """What must be fetched of a base model's safety checker; None if it has none."""
        listing = self.listing(ref, revision)
        names = _checker_files(tuple(listing.files), ref)
        return _download(ref, listing, names) if names else None

    def _parts(self, ref: ModelRef, listing: Listing) -> tuple[str, ...]:
        """The components of a pipeline; none for a single model."""
        index = f"{_inside(ref)}model_index.json"
        if index not in listing.files:
            return ()
        from huggingface_hub import hf_hub_download

        with hub_errors(ref), TemporaryDirectory() as folder:
            found = hf_hub_download(ref.repo, index, revision=listing.commit, local_dir=folder)
            return components(Path(found).parent)


def fetch(
    ref: ModelRef, place: Place, models: str | Path | None = None, watch: Watch | None = None
) -> Place:
    """Download a hub model into the hub's cache and say where it lies; no-op for a local one.

    The commit of a model whose revision the catalogue leaves open is pinned (in the file that
    belongs to the folder `models`), so that later runs load the same one.

    Of a model that is single files (`NetworkRef.files`) those are fetched, else the whole of it.
    Loading always reads a folder, so downloaded models take the very path of local ones.
    Raises LocateError with the way out.
    """
    if place.folder is not None:
        return place
    return carry_out(Hub().plan(ref, place.revision), models, watch)


def carry_out(
    download: Download, models: str | Path | None = None, watch: Watch | None = None
) -> Place:
    """Fetch what is missing of a model, verify it and say where it lies; see `fetch`."""
    from huggingface_hub import hf_hub_download

    ref, root = download.ref, Path()
    if problem := room_problem([download]):
        raise LocateError(problem)
    missing = set(download.missing)
    for file in sorted(download.files, key=lambda one: one.bytes):
        with hub_errors(ref):
            path = Path(
                hf_hub_download(
                    ref.repo, file.name, revision=download.commit, tqdm_class=_bar(file.name, watch)
                )
            )
        if file in missing:
            _verify(ref, file, path)
        root = path.parents[len(Path(file.name).parts) - 1]
    if not ref.revision:
        _pin(ref.repo, download.commit, pins_path(models))
    return local_place(ref, root / ref.subfolder, download.commit)


def room_problem(downloads: Iterable[Download]) -> str:
    """Why the hub's cache has no room for downloads, as one sentence, else ""."""
    need, cache = sum(one.bytes for one in downloads), hub_cache()
    if not need:
        return ""
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if need <= free:
        return ""
    return (
        f"the models to download take {need / GB:.1f} GB, and only {free / GB:.1f} GB are free for "
        f"{cache}: make room there, or set HF_HOME to a folder on a larger disk"
    )


def _download(ref: ModelRef, listing: Listing, names: Iterable[str]) -> Download:
    from huggingface_hub import try_to_load_from_cache

    files = tuple(listing.files[name] for name in names)
    missing = tuple(
        file
        for file in files
        if not isinstance(try_to_load_from_cache(ref.repo, file.name, revision=listing.commit), str)
    )
    return Download(ref, listing.commit, files, missing)


def _require_weights(
    ref: ModelRef, names: Sequence[str], parts: Sequence[str], listing: Listing
) -> None:
    """LocateError if the files that would be fetched hold no weights of some network."""
    networks = [part for part in parts if part in NETWORKS] or [""]
    for part in networks:
        folder = _inside(ref) + (f"{part}/" if part else "")
        if weight_sets(_within(folder, names), bins=ref.bins):
            continue
        what = f" of its {part}" if part else ""
        if not any(name.endswith(PICKLES) for name in _within(folder, listing.files)):
            raise LocateError(f"{ref.repo} at revision {listing.commit} has no weights{what}")
        way = f"load it yourself, save it with save_pretrained to PATH/{ref.repo} and give --models"
        raise LocateError(
            f"{ref.repo} at revision {listing.commit} has no safetensors weights{what}, and others "
            f"are not loaded: give its entry a revision that has them, or {way} PATH"
            + ("" if parts else "; a CLIP or a judge may say weights: bin")
        )


def _within(folder: str, names: Iterable[str]) -> list[str]:
    """Names of the files directly in a folder ("unet/"), without it."""
    inside = (name.removeprefix(folder) for name in names if name.startswith(folder))
    return [name for name in inside if "/" not in name]


def _inside(ref: ModelRef) -> str:
    return f"{ref.subfolder}/" if ref.subfolder else ""


def _bar(name: str, watch: Watch | None) -> Any:
    """A class of progress bars that shows nothing and tells `watch`."""
    from huggingface_hub.utils import tqdm

    class Quiet(tqdm):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            self.counts = not str(keywords.get("desc", "")).endswith("downloading bytes")
            known = {"total", "initial", "desc", "unit", "unit_scale"}
            super().__init__(
                *args, **{k: v for k, v in keywords.items() if k in known}, disable=True
            )

        def update(self, n: float | None = 1) -> bool | None:
            if watch is not None and self.counts and n:
                watch(name, int(n))
            return None

    return Quiet


def _verify(ref: ModelRef, file: HubFile, path: Path) -> None:
    """LocateError, and the file removed, if it is not what the hub says it is."""
    if not file.sha256:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found == file.sha256:
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise LocateError(
        f"{file.name} of {ref.repo} arrived damaged (its SHA-256 is {found[:12]}…, and "
        f"{file.sha256[:12]}… on the hub) and was removed: start again, and if it comes back, copy "
        f"the model to PATH/{ref.repo} and give --models PATH"
    )


def _pin(repo: str, commit: str, path: Path) -> None:
    try:
        is_new = add_pins(path, {repo: commit})
    except (OSError, ValueError) as error:
        log.warning("%s at %s could not be pinned: %s", repo, commit, error)
        return
    if is_new:
        log.warning("%s is pinned at %s in %s: later runs load the same", repo, commit, path)


def fetch_checker(ref: ModelRef, place: Place, models: str | Path | None = None) -> Place:
    """A base model's folder with its safety checker, which is fetched only when it is asked for.

    A plain folder, and any folder while the network must not be used, stays as it is. Raises
    LocateError with the way out.
    """
    found = fetch(ref, place, models)
    can_fetch = ref.repo and found.revision and not is_offline()
    if found.folder is None or not can_fetch or not lacks_checker(found.folder):
        return found
    checker = Hub().plan_checker(ref, found.revision)
    if checker is not None:
        carry_out(checker, models)
    return found


def _checker_files(files: Sequence[str], ref: ModelRef) -> list[str]:
    """The files of a base model's safety checker; none if it lacks some part."""
    checker, processor = (f"{_inside(ref)}{name}/" for name in SAFETY_PARTS)
    wanted = [
        name
        for name in wanted_files(files, ref, SAFETY_PARTS, unasked=())
        if name.startswith((checker, processor))
    ]
    weights = any(variant_of(name.removeprefix(checker)) is not None for name in wanted)
    return wanted if weights and any(name.startswith(processor) for name in wanted) else []


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
    inside = _inside(ref)
    folders: dict[str, list[str]] = {}
    for name in files:
        if name.startswith(inside):
            folder, _, _ = name[len(inside) :].rpartition("/")
            if folder == "" or (folder in parts and folder not in unasked):
                folders.setdefault(folder, []).append(name)
    wanted: list[str] = []
    for folder, names in folders.items():
        sets = weight_sets((name.rpartition("/")[2] for name in names), bins=ref.bins)
        weights = () if parts and folder == "" else sets.get(ref.variant) or sets.get("", ())
        wanted += [n for n in names if n.endswith(_SMALL) or n.rpartition("/")[2] in weights]
    return sorted(wanted)


class UnreachableError(LocateError):
    """The hub does not answer: asking it for another model is in vain. `reason` says why."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def hub_errors(ref: ModelRef) -> Iterator[None]:
    """Turn the hub's errors into one sentence each, with the way out.

    Raises LocateError, and of its kind UnreachableError where there is no way to the hub. What the
    hub's library says of its own new attempts is not shown.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import logging as hub_logging

    loud = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
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
    finally:
        hub_logging.set_verbosity(loud)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _no_way(ref: ModelRef, reason: str) -> str:
    return (
        f"{ref.repo} cannot be fetched ({reason}): mend the network and start again, what has "
        f"arrived is kept; or copy the model to PATH/{ref.repo} and give --models PATH"
    )
