"""Downloads files of the Hugging Face Hub into its cache."""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from studio.inference.transfer import (
    DownloadFailed,
    OnTransfer,
    RemoteFile,
    download,
    failures_named,
)

_SAFE_NAME = re.compile(r"[\w-][\w.-]*")


def list_files(repository: str, patterns: Sequence[str]) -> list[str]:
    """Names of files at the top of a repository that match. Raises DownloadFailed."""
    from huggingface_hub import HfApi

    with failures_named():
        siblings = HfApi().model_info(repository, timeout=10).siblings or []
    names = [one.rfilename for one in siblings]
    return [
        name
        for name in names
        if _SAFE_NAME.fullmatch(name) and any(fnmatch(name, one) for one in patterns)
    ]


def fetch(
    repository: str,
    names: Sequence[str],
    on_transfer: OnTransfer,
    cache: Path | None = None,
    check_bytes: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Download files of a repository into a cache, by default the usual one. Returns their paths.

    `check_bytes` gets the size of all files before the first is downloaded, and may raise. Raises
    DownloadFailed and DiskFull.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    home = Path(cache or constants.HF_HUB_CACHE)
    folder = home / repo_folder_name(repo_id=repository, repo_type="model")
    with failures_named():
        about = [_metadata(repository, name) for name in names]
    revision = about[0].commit_hash if about else None
    if revision is None:
        raise DownloadFailed(f"the hub returned no revision for {repository}")
    files = [
        _remote_file(repository, name, revision, folder, one)
        for name, one in zip(names, about, strict=True)
    ]
    check_bytes(sum(file.size_bytes for file in files))
    download(files, on_transfer)
    with failures_named(folder):
        paths = [_place(folder, revision, *pair) for pair in zip(names, files, strict=True)]
        main = folder / "refs" / "main"
        main.parent.mkdir(exist_ok=True)
        main.write_text(revision)
    return paths


def cached_folder(repository: str, name: str) -> Path | None:
    """The folder of a file in the usual cache; None if it is not cached."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name)
    return Path(path).parent if isinstance(path, str) else None


def declared_bytes(url: str) -> int:
    """The size that a server outside of the hub declares for a file. Raises DownloadFailed."""
    from huggingface_hub import get_hf_file_metadata

    with failures_named():
        size_bytes = get_hf_file_metadata(url, token=False).size
    if size_bytes is None:
        raise DownloadFailed(f"{url} has no declared size")
    return size_bytes


def _metadata(repository: str, name: str) -> Any:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return get_hf_file_metadata(hf_hub_url(repository, name))


def _remote_file(repository: str, name: str, revision: str, folder: Path, about: Any) -> RemoteFile:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    if about.size is None or not _SAFE_NAME.fullmatch(about.etag or ""):
        raise DownloadFailed(f"the hub returned no size or checksum for {name}")
    # The revision whose size was read, even if the repository has changed since.
    url = hf_hub_url(repository, name, revision=revision)
    path = folder / "blobs" / about.etag
    return RemoteFile(url, path, about.size, about.etag, build_hf_headers())


def _place(folder: Path, revision: str, name: str, file: RemoteFile) -> Path:
    """Name a downloaded file as the hub's cache does, so that other programs find it too."""
    from huggingface_hub.file_download import _create_symlink, _get_pointer_path

    path = Path(_get_pointer_path(str(folder), revision, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_symlink(str(file.path), str(path), new_blob=True)
    return path
