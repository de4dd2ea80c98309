"""All errors that callers can get: a base class, stable codes, HTTP statuses and titles.

The sentence of an error says what is wrong and what to do. A test compares the codes with
`docs/errors.md`.
"""

from typing import Any, ClassVar


class StudioError(Exception):
    """Base class. `extra` holds further members of the JSON response."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal server error"

    def __init__(self, sentence: str, **extra: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.extra = extra


class InternalError(StudioError):
    """A bug in the server; the log has the cause."""


class BadRequest(StudioError):
    code, status, title = "bad_request", 400, "The request is malformed"


class NoFile(StudioError):
    code, status, title = "no_file", 400, "No file was sent"


class EmptyFile(StudioError):
    code, status, title = "empty_file", 400, "The file is empty"


class BadFilename(StudioError):
    code, status, title = "bad_filename", 400, "The file name is not valid"


class UnsupportedFileType(StudioError):
    code, status, title = "unsupported_file_type", 415, "The file type is not accepted"


class NotAudio(StudioError):
    code, status, title = "not_audio", 400, "The file contains no readable audio"


class AudioTruncated(StudioError):
    code, status, title = "audio_truncated", 400, "The file is truncated"


class AudioUnsupported(StudioError):
    code, status, title = "audio_unsupported", 400, "The audio format is not supported"


class TextUnreadable(StudioError):
    code, status, title = "text_unreadable", 400, "The text file cannot be used"


class InvalidJson(StudioError):
    code, status, title = "invalid_json", 400, "The body is not a JSON object"


class UnknownOption(StudioError):
    code, status, title = "unknown_option", 400, "The option does not exist"


class InvalidOption(StudioError):
    code, status, title = "invalid_option", 400, "An option has an invalid value"


class UnknownVariant(StudioError):
    code, status, title = "unknown_variant", 400, "The variant does not exist"


class UnknownStem(StudioError):
    code, status, title = "unknown_stem", 400, "The stem does not exist"


class UnknownFormat(StudioError):
    code, status, title = "unknown_format", 400, "The format does not exist"


class Unauthorized(StudioError):
    code, status, title = "unauthorized", 401, "A valid API key is required"


class InvalidLink(StudioError):
    code, status, title = "invalid_link", 403, "The link is not valid"


class OriginRefused(StudioError):
    code, status, title = "origin_refused", 403, "The origin is not allowed"


class NotListed(StudioError):
    code, status, title = "not_listed", 403, "Uploads are not listed"


class UnknownFile(StudioError):
    code, status, title = "unknown_file", 404, "The file does not exist"


class UnknownModel(StudioError):
    code, status, title = "unknown_model", 404, "The model does not exist"


class UnknownTrack(StudioError):
    code, status, title = "unknown_track", 404, "The track does not exist"


class UnknownRoute(StudioError):
    code, status, title = "unknown_route", 404, "The route does not exist"


class MethodNotAllowed(StudioError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed"


class ResultsGone(StudioError):
    code, status, title = "results_gone", 410, "The results no longer exist"


class NothingToCancel(StudioError):
    code, status, title = "nothing_to_cancel", 409, "There is no job to cancel"


class NotEditable(StudioError):
    code, status, title = "not_editable", 409, "The track cannot be edited"


class NotReady(StudioError):
    code, status, title = "not_ready", 409, "The track does not exist yet"


class WrongFileType(StudioError):
    code, status, title = "wrong_file_type", 415, "The model does not accept this file type"


class UnsupportedMediaType(StudioError):
    code, status, title = "unsupported_media_type", 415, "The content type is not supported"


class FileTooLarge(StudioError):
    code, status, title = "file_too_large", 413, "The request is too large"


class AudioTooLong(StudioError):
    code, status, title = "audio_too_long", 413, "The audio is too long"


class UnknownHost(StudioError):
    code, status, title = "unknown_host", 421, "This server does not serve the host name"


class DecoderEnded(StudioError):
    code, status, title = "decoder_ended", 503, "The decoder was killed"


class PreconditionFailed(StudioError):
    code, status, title = "precondition_failed", 412, "The file has changed"


class PreconditionRequired(StudioError):
    code, status, title = "precondition_required", 428, "If-Match is required"


class RangeNotSatisfiable(StudioError):
    code, status, title = "range_not_satisfiable", 416, "The range is outside the file"


class QueueFull(StudioError):
    code, status, title = "queue_full", 429, "The job queue is full"


class TooManyJobs(StudioError):
    code, status, title = "too_many_jobs", 429, "Too many unfinished jobs"


class TooManyRequests(StudioError):
    code, status, title = "too_many_requests", 429, "Rate limit exceeded"


class TooManyWaiting(StudioError):
    code, status, title = "too_many_waiting", 429, "Too many waiting requests"


class TooManySessions(StudioError):
    code, status, title = "too_many_sessions", 429, "Too many live sessions"


class TooManyUploads(StudioError):
    code, status, title = "too_many_uploads", 429, "Too many simultaneous uploads"


class TooManyWebhooks(StudioError):
    code, status, title = "too_many_webhooks", 429, "Too many pending webhooks"


class TooManyConversions(StudioError):
    code, status, title = "too_many_conversions", 429, "Too many pending conversions"


class UploadTooSlow(StudioError):
    code, status, title = "upload_too_slow", 408, "The upload is too slow"


class FontMissing(StudioError):
    code, status, title = "font_missing", 409, "No font covers the text"


class WeightsMissing(StudioError):
    code, status, title = "weights_missing", 503, "The model weights are missing"


class ModelUnusable(StudioError):
    code, status, title = "model_unusable", 503, "The model cannot be loaded"


class QuotaExceeded(StudioError):
    code, status, title = "quota_exceeded", 429, "The quota is used up"


class DiskFull(StudioError):
    code, status, title = "disk_full", 507, "The disk is full"


class StorageUnavailable(StudioError):
    code, status, title = "storage_unavailable", 503, "The server cannot write its files"


class Interrupted(StudioError):
    code, status, title = "interrupted", 500, "The job was interrupted"


def all_errors() -> list[type[StudioError]]:
    """Every error class, sorted by code; each code occurs once."""
    return sorted(StudioError.__subclasses__(), key=lambda error: error.code)


def error_of(code: str, sentence: str, **extra: Any) -> StudioError:
    """The error for a code that a job has recorded or a server has sent."""
    kinds = {kind.code: kind for kind in all_errors()}
    return kinds.get(code, InternalError)(sentence, **extra)
