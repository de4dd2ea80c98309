"""An S3 bucket: what the storage needs of boto3, with errors for callers.

boto3 is imported when a bucket is opened: servers that keep their files on disk do not install it.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio import logs
from studio.errors import StorageUnavailable
from studio.storage.results import FileInfo
from studio.storage.space import disk_errors

RETRY_AFTER_S = 10
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 30
# Larger files are sent and fetched in parts.
PART_BYTES = 16 << 20
# The most that S3 takes in one request.
MAX_PUT_BYTES = 5 << 30
BLOCK_BYTES = 256 << 10
DELETED_AT_ONCE = 1000
# How often to look whether a file has been sent.
LOOK_EVERY_S = 0.05

log = logs.RateLimitedLog(logging.getLogger(__name__))


@dataclass(frozen=True)
class BucketSettings:
    """A bucket, and what all keys in it begin with. Empty `endpoint` and `region`: those of AWS.

    boto3 finds the credentials: in the environment, its files, or the metadata of the machine.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @classmethod
    def of(cls, url: str, endpoint: str = "", region: str = "") -> "BucketSettings":
        """The settings for `s3://bucket/prefix`."""
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        return cls(parts.netloc, f"{prefix}/" if prefix else "", endpoint, region)


class Bucket:
    """Objects by key. Thread-safe.

    All methods raise StorageUnavailable if the store does not answer or refuses.
    """

    def __init__(self, settings: BucketSettings) -> None:
        self._settings = settings
        self._bucket = settings.bucket

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 2},
            # Stores other than AWS may not support the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            signature_version="s3v4",
            s3={"addressing_style": "path"} if self._settings.endpoint else {},
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._settings.endpoint or None,
            region_name=self._settings.region or None,
            config=config,
        )

    @cached_property
    def _in_parts(self) -> Any:
        """How large files are sent and fetched."""
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)

    def create(self) -> None:
        """Create the bucket."""
        with _store_errors():
            self._client.create_bucket(Bucket=self._bucket)

    def check(self) -> None:
        """Raise StorageUnavailable if the bucket cannot be reached or does not exist."""
        try:
            with _store_errors():
                self._client.head_bucket(Bucket=self._bucket)
        except FileNotFoundError:
            raise StorageUnavailable(
                f"The bucket {self._bucket!r} does not exist. The operator has to create it or "
                "correct STORAGE_URL."
            ) from None

    def info(self, key: str) -> FileInfo | None:
        """None if there is no such object."""
        try:
            with _store_errors():
                head = self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        except FileNotFoundError:
            return None
        return _info(head, head["ContentLength"])

    def each(self, prefix: str) -> Iterator[tuple[str, FileInfo]]:
        """The objects whose keys begin with `prefix`, one page in memory at a time."""
        for page in self._pages("list_objects_v2", Prefix=self._full(prefix)):
            for one in page.get("Contents", []):
                yield self._own(one["Key"]), _info(one, one["Size"])

    def infos(self, prefix: str) -> dict[str, FileInfo]:
        """All objects whose keys begin with `prefix`, by key."""
        return dict(self.each(prefix))

    def folders(self, prefix: str) -> list[str]:
        """The names between `prefix` and the next slash."""
        full = self._full(prefix)
        pages = self._pages("list_objects_v2", Prefix=full, Delimiter="/")
        return [
            one["Prefix"].removeprefix(full).rstrip("/")
            for page in pages
            for one in page.get("CommonPrefixes", [])
        ]

    def _pages(self, operation: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        with _store_errors():
            yield from self._client.get_paginator(operation).paginate(
                Bucket=self._bucket, **arguments
            )

    def put(self, key: str, path: Path, go_on: Callable[[], None] = lambda: None) -> None:
        """Store a file, in parts if it is large.

        `go_on` is called repeatedly and may raise to abort: parts that are being sent
        are finished, and no others are begun.
        """
        from boto3.s3.transfer import create_transfer_manager

        with _store_errors(), create_transfer_manager(self._client, self._in_parts) as transfers:
            sent = transfers.upload(str(path), self._bucket, self._full(key))
            while not sent.done():
                go_on()
                time.sleep(LOOK_EVERY_S)
            sent.result()

    def put_if_new(self, key: str, path: Path) -> None:
        """Store a file, unless there is one with this key."""
        if path.stat().st_size > MAX_PUT_BYTES:
            # The condition exists for single requests only.
            if self.info(key) is None:
                self.put(key, path)
            return
        try:
            with _store_errors(), open(path, "rb") as file:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._full(key), Body=file, IfNoneMatch="*"
                )
        except FileExistsError:
            pass

    def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GB. Raises FileNotFoundError."""
        with _store_errors():
            self._client.copy_object(
                Bucket=self._bucket,
                Key=self._full(target),
                CopySource={"Bucket": self._bucket, "Key": self._full(source)},
            )

    def read(self, key: str, first: int, last: int) -> Generator[bytes, None, None]:
        """The bytes from `first` to `last`, both included. Raises FileNotFoundError."""
        with _store_errors():
            body = self._client.get_object(
                Bucket=self._bucket, Key=self._full(key), Range=f"bytes={first}-{last}"
            )["Body"]
            try:
                yield from body.iter_chunks(BLOCK_BYTES)
            finally:
                body.close()

    def fetch(self, key: str, path: Path) -> None:
        """Write an object to a file. Raises FileNotFoundError."""
        with disk_errors(), _store_errors():
            self._client.download_file(
                self._bucket, self._full(key), str(path), Config=self._in_parts
            )

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are ignored. Refusals are logged."""
        names = [{"Key": self._full(key)} for key in keys]
        for begin in range(0, len(names), DELETED_AT_ONCE):
            part = names[begin : begin + DELETED_AT_ONCE]
            with _store_errors():
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": part, "Quiet": True}
                )
            if refused := answer.get("Errors"):
                first = refused[0]
                log.warning(
                    "the object store refused to delete %d of %d objects, such as %s: %s",
                    len(refused),
                    len(part),
                    first.get("Key"),
                    first.get("Message") or first.get("Code"),
                )

    def abort_uploads_before(self, at: float) -> None:
        """Delete the parts of uploads that began before a time, in Unix seconds."""
        pages = self._pages("list_multipart_uploads", Prefix=self._settings.prefix)
        for one in [one for page in pages for one in page.get("Uploads", [])]:
            if one["Initiated"].timestamp() < at:
                with _store_errors():
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"]
                    )

    def presigned(self, key: str, content_type: str, expires_s: int) -> str:
        """A URL to read an object without credentials."""
        url: str = self._client.generate_presigned_url(
            "get_object",
            {"Bucket": self._bucket, "Key": self._full(key), "ResponseContentType": content_type},
            ExpiresIn=expires_s,
        )
        return url

    def _full(self, key: str) -> str:
        return self._settings.prefix + key

    def _own(self, key: str) -> str:
        return key.removeprefix(self._settings.prefix)


def _info(head: Mapping[str, Any], size_bytes: int) -> FileInfo:
    return FileInfo(size_bytes, head["LastModified"].timestamp(), head["ETag"].strip('"'))


@contextmanager
def _store_errors() -> Iterator[None]:
    """Convert the errors of boto3: FileNotFoundError, FileExistsError or StorageUnavailable."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response.get("Error", {}).get("Code")
        if status == 404 and code != "NoSuchBucket":
            raise FileNotFoundError(str(error)) from None
        if status == 412:
            raise FileExistsError(str(error)) from None
        raise _unavailable(error) from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageUnavailable:
    log.warning("the object store failed: %s", error)
    return StorageUnavailable(
        f"The object store does not respond. Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )
