"""Every error a caller can meet: one base class, a stable code, an HTTP status, a sentence.

The sentence names what is wrong and how to mend it. `docs/errors.md` describes each code; a test
keeps the two in step.
"""

from typing import Any, ClassVar


class StudioError(Exception):
    """Base of all errors shown to callers. `extra` is added to the answer as it is (JSON)."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong inside the server"

    def __init__(self, sentence: str, **extra: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.extra = extra


class InternalError(StudioError):
    """A defect of the server; the cause is in its log."""


class BadRequest(StudioError):
    code, status, title = "bad_request", 400, "The request cannot be read"


class NoFile(StudioError):
    code, status, title = "no_file", 400, "No file was sent"


class EmptyFile(StudioError):
    code, status, title = "empty_file", 400, "The file is empty"


class BadFilename(StudioError):
    code, status, title = "bad_filename", 400, "The file name cannot be used"


class UnsupportedFileType(StudioError):
    code, status, title = "unsupported_file_type", 415, "This kind of file is not accepted"


class NotAudio(StudioError):
    code, status, title = "not_audio", 400, "The file holds no readable sound"


class AudioTruncated(StudioError):
    code, status, title = "audio_truncated", 400, "The file is cut off"


class AudioUnsupported(StudioError):
    code, status, title = "audio_unsupported", 400, "The kind of sound is not supported"


class TextUnreadable(StudioError):
    code, status, title = "text_unreadable", 400, "The text file cannot be used"


class InvalidJson(StudioError):
    code, status, title = "invalid_json", 400, "The body is not the JSON that is expected"


class UnknownOption(StudioError):
    code, status, title = "unknown_option", 400, "An option is not known"


class InvalidOption(StudioError):
    code, status, title = "invalid_option", 400, "An option has a wrong value"


class UnknownVariant(StudioError):
    code, status, title = "unknown_variant", 400, "The model has no such variant"


class UnknownStem(StudioError):
    code, status, title = "unknown_stem", 400, "The model has no such stem"


class UnknownFormat(StudioError):
    code, status, title = "unknown_format", 400, "The format is not known"


class Unauthorized(StudioError):
    code, status, title = "unauthorized", 401, "An API key is needed"


class OriginRefused(StudioError):
    code, status, title = "origin_refused", 403, "Pages of this origin may not do that"


class UnknownFile(StudioError):
    code, status, title = "unknown_file", 404, "There is no such file"


class UnknownModel(StudioError):
    code, status, title = "unknown_model", 404, "There is no such model"


class UnknownTrack(StudioError):
    code, status, title = "unknown_track", 404, "There is no such track"


class UnknownRoute(StudioError):
    code, status, title = "unknown_route", 404, "There is no such address"


class MethodNotAllowed(StudioError):
    code, status, title = "method_not_allowed", 405, "This address does not take that method"


class ResultsGone(StudioError):
    code, status, title = "results_gone", 410, "The results are no longer on disk"


class NothingToCancel(StudioError):
    code, status, title = "nothing_to_cancel", 409, "No job is waiting or running"


class NotReady(StudioError):
    code, status, title = "not_ready", 409, "The track is not there yet"


class WrongFileType(StudioError):
    code, status, title = "wrong_file_type", 415, "The model does not take this kind of file"


class UnsupportedMediaType(StudioError):
    code, status, title = "unsupported_media_type", 415, "The body has the wrong content type"


class FileTooLarge(StudioError):
    code, status, title = "file_too_large", 413, "The file is too large"


class AudioTooLong(StudioError):
    code, status, title = "audio_too_long", 413, "The sound is too long"


class UnknownHost(StudioError):
    code, status, title = "unknown_host", 421, "The server does not go by this name"


class DecoderEnded(StudioError):
    code, status, title = "decoder_ended", 503, "The system ended the decoder"


class PreconditionFailed(StudioError):
    code, status, title = "precondition_failed", 412, "The file is not the one that is asked for"


class RangeNotSatisfiable(StudioError):
    code, status, title = "range_not_satisfiable", 416, "The range lies outside the file"


class QueueFull(StudioError):
    code, status, title = "queue_full", 429, "Too many jobs are waiting"


class TooManyJobs(StudioError):
    code, status, title = "too_many_jobs", 429, "Too many of your jobs wait or run"


class TooManyRequests(StudioError):
    code, status, title = "too_many_requests", 429, "Too many requests"


class TooManyUploads(StudioError):
    code, status, title = "too_many_uploads", 429, "Too many uploads at the same time"


class TooManyWebhooks(StudioError):
    code, status, title = "too_many_webhooks", 429, "Too many of your webhooks wait"


class TooManyConversions(StudioError):
    code, status, title = "too_many_conversions", 429, "Too many formats are being made"


class UploadTooSlow(StudioError):
    code, status, title = "upload_too_slow", 408, "The upload is too slow"


class WeightsMissing(StudioError):
    code, status, title = "weights_missing", 503, "The weights of the model are not there"


class ModelUnusable(StudioError):
    code, status, title = "model_unusable", 503, "The model cannot be loaded"


class QuotaExceeded(StudioError):
    code, status, title = "quota_exceeded", 429, "Your quota is used up"


class DiskFull(StudioError):
    code, status, title = "disk_full", 507, "The server's disk is full"


class StorageUnavailable(StudioError):
    code, status, title = "storage_unavailable", 503, "The server cannot write its files"


class Interrupted(StudioError):
    code, status, title = "interrupted", 500, "The server stopped in the middle of the job"


def all_errors() -> list[type[StudioError]]:
    """Every error class, sorted by code; each code occurs once."""
    return sorted(StudioError.__subclasses__(), key=lambda error: error.code)
