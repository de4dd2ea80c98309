"""Reuses the results of identical requests."""

from contextlib import nullcontext

from studio.errors import UnknownFile
from studio.jobs.job import Job, Request
from studio.jobs.store import JobStore
from studio.storage.results import ResultId
from studio.storage.storage import Storage
from studio.storage.uploads import UnreadableRecord


def completed_before(
    store: JobStore,
    storage: Storage,
    request: Request,
    *,
    owner: str | None,
    webhook: str | None = None,
    client: str | None = None,
) -> Job | None:
    """A completed job for the request of a file's owner, or None.

    It is the latest job of the file, or a new one that shares the files of an earlier job, possibly
    of another upload of the same owner with the same content. `webhook` receives the message about
    its end.
    """
    # Jobs of the same file come first, because their results may have been edited.
    for earlier in store.completed(request):
        if earlier.result is None or not _belongs_to(storage, earlier, owner):
            continue
        if not storage.result(earlier.result_id).exists():
            continue
        if store.of_file(request.file_id)[:1] == [earlier]:
            if webhook is not None:
                store.add_webhook(earlier.job_id, webhook, client)
            return earlier
        job_id = store.new_id()
        result_id = ResultId(request.file_id, job_id)
        is_same_file = earlier.request.file_id == request.file_id
        # An edit that is saved between the two calls would be lost.
        unedited = store.editing(request.file_id) if is_same_file else nullcontext()
        with unedited:
            try:
                shared = storage.share(earlier.result_id, result_id, with_edits=is_same_file)
            except FileNotFoundError:
                continue
            job = store.add(
                request,
                job_id=job_id,
                result=earlier.result,
                client=client,
                webhook=webhook,
                shares=shared.shares,
            )
        # From now on whoever deletes the earlier upload keeps the files; it may be gone already.
        if shared.shares and not (
            _belongs_to(storage, earlier, owner) and storage.result(shared).exists()
        ):
            store.forget(job_id)
            continue
        return job
    return None


def _belongs_to(storage: Storage, job: Job, owner: str | None) -> bool:
    try:
        return storage.upload(job.request.file_id).owner == owner
    except (UnknownFile, UnreadableRecord):
        return False
