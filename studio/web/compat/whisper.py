"""What the APIs for Whisper share: its name here, and segments with its own field names."""

from typing import Any

from studio.transcription.formats import to_plain_vtt
from studio.transcription.transcript import Transcript

# The name of the model in jobs.
WHISPER = "whisper"


def segment_fields(number: int, segment: dict[str, Any]) -> dict[str, Any]:
    """A segment of our transcripts, as openai-whisper and OpenAI's API describe it."""
    return {
        "id": number,
        "start": segment["start_s"],
        "end": segment["end_s"],
        "text": segment["text"],
        "tokens": segment.get("tokens", []),
        "avg_logprob": segment["average_log_probability"],
        "compression_ratio": segment["compression_ratio"],
        "no_speech_prob": segment["no_speech_probability"],
    }


def plain_vtt(transcript: dict[str, Any]) -> str:
    """A transcript as WebVTT without word times, as openai-whisper and OpenAI's API write it."""
    return to_plain_vtt(Transcript.from_dict(transcript))
