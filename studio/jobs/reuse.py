"""Answers a request from results that are already there."""

from studio.errors import UnknownFile
from studio.jobs.job import Job, Request, State
from studio.jobs.store import JobStore
from studio.storage.files import Storage


def completed_before(
    store: JobStore,
    storage: Storage,
    request: Request,
    webhook: str | None = None,
    client: str | None = None,
) -> Job | None:
    """A completed job for the request: the file's latest, or a new one that shares the files of
    an earlier one (of any upload of the same owner with the same content). None when the work is
    still to be done. `webhook` receives the end of the job that is found, for `client`.
    """
    owner = storage.upload(request.file_id).owner
    for earlier in store.with_fingerprint(request.fingerprint, [State.COMPLETED]):
        folder = storage.result(earlier.request.file_id, earlier.job_id)
        if not folder.is_dir() or earlier.result is None:
            continue
        if not _belongs_to(storage, earlier, owner):
            continue
        if store.of_file(request.file_id)[:1] == [earlier]:
            if webhook is not None:
                store.tell(earlier.job_id, webhook, client)
            return earlier
        job_id = store.new_id()
        try:
            with storage.work(job_id) as work:
                storage.share(folder, work)
                storage.publish(work, request.file_id, job_id)
        except FileNotFoundError:
            continue
        return store.add(
            request, job_id=job_id, result=earlier.result, client=client, webhook=webhook
        )
    return None


def _belongs_to(storage: Storage, job: Job, owner: str | None) -> bool:
    try:
        return storage.upload(job.request.file_id).owner == owner
    except UnknownFile:
        return False
