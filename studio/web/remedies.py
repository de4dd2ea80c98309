"""What to do about each error, by its code: more than the sentence of an error can say.

`docs/errors.md` has the same texts, which a test compares.
"""

REMEDIES = {
    "audio_too_long": (
        "Its duration exceeds `MAX_DURATION_S`, or its size exceeds `MAX_DECODED_BYTES` once "
        "decoded. Split the file."
    ),
    "audio_truncated": (
        "The end of the file is missing, usually because a transfer was interrupted. Upload "
        "the complete file. (A file that does not record where it ends is accepted with a "
        "`note`.)"
    ),
    "audio_unsupported": (
        "The sample rate is outside 8,000 to 192,000 Hz, there are more than 8 channels, the "
        "codec is not accepted, or the audio is encrypted; `error` says which. Convert the "
        "file first."
    ),
    "bad_filename": (
        "The name is missing, contains a path or control characters, or is longer than 200 "
        "characters. Send a plain file name."
    ),
    "bad_request": (
        "It is not well-formed HTTP or form data: the form has no boundary or a different one"
        " than the header declares, the body is incomplete, or the form contains several "
        "files."
    ),
    "decoder_ended": (
        "The operating system killed it, usually because the machine ran out of memory. "
        "The file may be fine: try again later."
    ),
    "disk_full": (
        "The request would leave less than `MIN_FREE_BYTES` on the server's disk, or uploads "
        "and results would exceed `MAX_STORED_BYTES`. Delete files (`DELETE "
        "/cleanup/<file_id>`) or free disk space."
    ),
    "empty_file": "The file has 0 bytes.",
    "file_too_large": (
        "The request exceeds `MAX_CONTENT_LENGTH`. JSON bodies are limited to 64 kB, and "
        "edited transcripts to 16 MB."
    ),
    "font_missing": (
        "A karaoke video would show boxes instead of these characters. `error` lists some of "
        "them. Add a font to `FONTS_DIR`."
    ),
    "internal_error": "A bug in the server. The server log has the cause.",
    "interrupted": (
        "The server stopped three times while the job was running (on several machines, its "
        "workers stopped five times). Check the server log, then start the job again."
    ),
    "invalid_json": "The request body must be a JSON object.",
    "invalid_link": (
        "It has expired, it was made for another file or track, or the file or its API key no"
        " longer exists. Get a new one with `POST /links`."
    ),
    "invalid_option": (
        "The value has the wrong type or is out of range, or the option is given twice with "
        "different values. `error` names the option and its value."
    ),
    "method_not_allowed": "`error` lists the methods that this route accepts.",
    "model_unusable": (
        "The weights are damaged or not of a supported class, or a package is missing; "
        "`error` says which."
    ),
    "no_file": "The form has no file in the field `file`, or its file input is empty.",
    "not_audio": (
        "The file is not a known audio container, too little of it can be decoded, or decoding "
        "it takes far more time, memory or output than it should; `error` says which."
    ),
    "not_editable": "Only transcripts can be edited.",
    "not_listed": (
        "The server has no `API_KEYS`, so it cannot tell whose uploads are whose. Keep the "
        "`file_id` of each upload."
    ),
    "not_ready": (
        "The job is still queued or processing, or none was started; or `source`, "
        "`continue_from` or `melody_from` refers to music that has not been generated, or that "
        "was deleted while the job was waiting. A mix with a click needs an analysis, and a "
        "karaoke video a transcript and separated vocals. Check `GET /status/<file_id>`."
    ),
    "nothing_to_cancel": "All jobs of the file have ended.",
    "origin_refused": (
        "A web page from an origin that is not in `CORS_ORIGINS` sent a request that changes "
        "something."
    ),
    "precondition_failed": (
        "Its ETag does not match `If-Match`, or it was modified after `If-Unmodified-Since`. "
        "Restart the download, or read the transcript again before editing it."
    ),
    "precondition_required": (
        "An edit must name the version that was edited: send the ETag of the transcript as "
        "`If-Match`."
    ),
    "queue_full": "`MAX_QUEUED_JOBS` jobs are queued. Retry after `Retry-After` seconds.",
    "quota_exceeded": (
        "Your files and results take `MAX_CLIENT_BYTES`, or your jobs ran for "
        "`MAX_CLIENT_MINUTES` in the last 24 hours. Delete files, or wait."
    ),
    "range_not_satisfiable": "The requested range starts after the end of the file.",
    "results_gone": (
        "They were removed from `OUTPUT_FOLDER`. Start the job again: `POST "
        "/process/<model>/<file_id>`."
    ),
    "storage_unavailable": (
        "The disk is read-only, or the job database does not respond. The server log and `GET"
        " /ready` show the cause to the operator."
    ),
    "text_unreadable": (
        "A prompt is UTF-8 text of at most 2,000 characters that describes something; if its "
        "first line begins with `{`, it must be JSON. Lyrics are UTF-8 text of at most 20,000"
        " characters."
    ),
    "too_many_conversions": (
        "8 downloads of one client, or 32 in all, are waiting for a format to be made, or 2 "
        "mixes of one client, or 4 in all, are being made. Retry after `Retry-After` seconds."
    ),
    "too_many_jobs": (
        "A client may have `MAX_CLIENT_JOBS` queued or processing jobs. Wait until one ends, "
        "or cancel one."
    ),
    "too_many_requests": (
        "The limit is `RATE_LIMIT`, or `RATE_LIMIT_WORK` for uploads and job requests. Retry "
        "after `Retry-After` seconds."
    ),
    "too_many_sessions": (
        "`LIVE_SESSIONS` live sessions are open, or `LIVE_CLIENT_SESSIONS` of one client. "
        "Close one, or retry after `Retry-After` seconds."
    ),
    "too_many_uploads": (
        "`MAX_UPLOADS` uploads are in progress, or `MAX_CLIENT_UPLOADS` of one client. Retry "
        "after `Retry-After` seconds."
    ),
    "too_many_waiting": (
        "8 requests of one client, or 40 in all, are waiting for the end of a job. Retry "
        "after `Retry-After` seconds."
    ),
    "too_many_webhooks": (
        "`MAX_CLIENT_WEBHOOKS` messages of one client have not been delivered, because its "
        "receivers do not respond. Fix the receivers, or start jobs without `webhook`."
    ),
    "unauthorized": (
        "No key was sent, or one that is not in `API_KEYS`. Send `Authorization: Bearer KEY`."
    ),
    "unknown_file": (
        "You have no upload with this ID: it never existed, was deleted, or belongs to "
        "another API key."
    ),
    "unknown_format": (
        "Audio tracks have the formats wav, flac, mp3, ogg and peaks; transcripts have txt, "
        "srt, vtt, json, tsv, lrc, plain.lrc, ass and ultrastar.txt."
    ),
    "unknown_host": (
        "The `Host` of the request is not an IP address, not localhost, and not in `ALLOWED_HOSTS`."
    ),
    "unknown_model": "The models are demucs, whisper, musicgen and analysis.",
    "unknown_option": (
        "An option in the body or the query, or a query parameter, is not known. `error` "
        "lists the known ones."
    ),
    "unknown_route": "`GET /docs` lists all routes.",
    "unknown_stem": "`error` lists the stems of the variant.",
    "unknown_track": "`error` lists the available tracks.",
    "unknown_variant": "`GET /models` lists the variants.",
    "unsupported_file_type": "The extension of the file name must be one of `ALLOWED_EXTENSIONS`.",
    "unsupported_media_type": (
        "Uploads are `multipart/form-data`; options are `application/json`."
    ),
    "upload_too_slow": (
        "After the first minute, an upload must average at least 10 kB/s. Use a faster "
        "connection, or compress the file."
    ),
    "weights_missing": (
        "The weights are not on this machine and cannot be downloaded. `error` names the "
        "files and the folder. The bundled variant `mini` is always available."
    ),
    "wrong_file_type": "For example, Demucs does not accept text.",
}
