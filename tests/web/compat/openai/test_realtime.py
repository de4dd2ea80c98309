"""OpenAI's Realtime API, asked by the official Python client: speech in real time, turn by turn."""

import json
from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest

from studio.transcription.engine import RATE_HZ
from studio.transcription.live.endpoints import Span
from studio.transcription.live.events import SessionError
from studio.transcription.live.settings import LiveSettings
from studio.web.compat.openai.realtime.configuration import Configuration
from studio.web.compat.openai.realtime.items import Items
from tests.support.hearing import silence
from tests.support.realtime import (
    CHUNK_S,
    TRANSCRIPTION,
    configure,
    connected,
    pieces,
    say,
    texts_of,
    until_completed,
)
from tests.support.server import Server
from tests.support.speech import MAX_WRONG_ELSEWHERE, Spoken, wrong

# The client uses `websockets` in a way that its newest version calls deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")


def test_speech_in_real_time(server: Server, recording: Spoken) -> None:
    sentences = recording.sentences[:2]
    speech = np.concatenate([recording.part(0, 2), silence(1.5)])
    with connected(server) as connection:
        configure(
            connection,
            transcription={"model": "whisper-1", "language": "en"},
            turn_detection={"type": "server_vad", "silence_duration_ms": 400},
        )
        speaker = Thread(target=say, args=(connection, speech, CHUNK_S))
        speaker.start()
        events = until_completed(connection, len(sentences))
        speaker.join()
    assert wrong(" ".join(sentences), " ".join(texts_of(events))) <= MAX_WRONG_ELSEWHERE
    items = list(dict.fromkeys(event.item_id for event in events))
    assert len(items) == len(sentences)
    begins_ms = []
    for item in items:
        mine = [event for event in events if event.item_id == item]
        kinds = [event.type for event in mine if not event.type.endswith(".delta")]
        assert kinds == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            f"{TRANSCRIPTION}.completed",
        ]
        deltas = "".join(event.delta for event in mine if event.type.endswith(".delta"))
        text = texts_of(mine)[0]
        assert text.startswith(deltas) or wrong(text, deltas) <= 0.5
        begins_ms += [event.audio_start_ms for event in mine if event.type.endswith("_started")]
        assert mine[-1].usage.type == "duration" and mine[-1].usage.seconds >= 1
    assert begins_ms == sorted(begins_ms)
    committed = [event for event in events if event.type == "input_audio_buffer.committed"]
    assert [event.previous_item_id for event in committed] == [None, items[0]]


def test_turns_by_hand(server: Server, recording: Spoken) -> None:
    with connected(server) as connection:
        event = configure(connection, turn_detection=None, transcription={"language": "en"})
        assert event.session.audio.input.turn_detection is None
        for first in (0, 2):
            say(connection, recording.part(first, first + 2))
            connection.input_audio_buffer.commit()
            events = until_completed(connection, 1)
            true = " ".join(recording.sentences[first : first + 2])
            assert wrong(true, texts_of(events)[0]) <= 2 * MAX_WRONG_ELSEWHERE
            deltas = [event.delta for event in events if event.type.endswith(".delta")]
            kinds = {event.type for event in events if not event.type.endswith(".delta")}
            assert kinds == {"input_audio_buffer.committed", f"{TRANSCRIPTION}.completed"}
            assert "".join(deltas).strip()
        # Silence is an item without text.
        say(connection, silence(0.5))
        connection.input_audio_buffer.commit()
        assert texts_of(until_completed(connection, 1)) == [""]


def test_audio_that_arrives_faster_than_it_is_decoded_waits(
    server: Server, recording: Spoken
) -> None:
    """The event has 19 s of speech; the backlog of a session is limited to 5 s."""
    with connected(server) as connection:
        configure(connection, turn_detection=None, transcription={"language": "en"})
        connection.input_audio_buffer.append(audio="".join(pieces(recording.sound)))
        connection.input_audio_buffer.commit()
        events = until_completed(connection, 1)
    assert wrong(recording.text, texts_of(events)[0]) <= MAX_WRONG_ELSEWHERE


def test_every_commit_is_answered(server: Server, recording: Spoken) -> None:
    """After turn detection has committed a turn, the buffer has only silence, and then nothing."""
    with connected(server) as connection:
        say(connection, np.concatenate([recording.part(0, 1), silence(1.5)]))
        until_completed(connection, 1)
        connection.input_audio_buffer.commit()
        events = until_completed(connection, 1)
        kinds = [event.type for event in events]
        assert kinds == ["input_audio_buffer.committed", f"{TRANSCRIPTION}.completed"]
        assert texts_of(events) == [""]
        connection.input_audio_buffer.commit()
        answer = connection.recv()
        assert answer.type == "error"
        assert answer.error.code == "input_audio_buffer_commit_empty"


def test_the_deltas_of_chinese_are_its_text() -> None:
    """Two utterances in one item; the second begins to be stable before it ends."""
    sent: list[dict[str, Any]] = []
    items = Items(lambda kind, members: sent.append({"type": kind, **members}))
    items.has_turns = False
    for text in ("今天天气很好。", "我们去公园。"):
        items.began(0)
        items.interim(text[:2])
        items.ended(Span(0, RATE_HZ))
        items.decoded(text)
    items.commit()
    deltas = [one["delta"] for one in sent if one["type"] == f"{TRANSCRIPTION}.delta"]
    assert deltas == ["今天", "天气很好。", "我们", "去公园。"]
    assert sent[-1]["transcript"] == "".join(deltas)


def test_a_cleared_buffer_is_not_transcribed(server: Server, recording: Spoken) -> None:
    with connected(server) as connection:
        configure(connection, turn_detection=None, transcription={"language": "en"})
        say(connection, recording.part(0, 1))
        connection.input_audio_buffer.clear()
        say(connection, np.concatenate([silence(0.5), recording.part(3, 4)]))
        connection.input_audio_buffer.commit()
        events = until_completed(connection, 1)
    cleared = [event.type for event in events].index("input_audio_buffer.cleared")
    assert not any(event.type.endswith(".completed") for event in events[:cleared])
    assert wrong(recording.sentences[3], texts_of(events)[0]) <= 0.5


def test_an_update_keeps_what_it_does_not_mention() -> None:
    configuration = Configuration("sess_1", "whisper-1")

    def update(**sound: Any) -> None:
        nonlocal configuration
        configuration = configuration.updated({"audio": {"input": sound}})

    given = {"language": "de", "prompt": "Zoo", "keywords": ["Bär"]}
    turns = {"type": "server_vad", "silence_duration_ms": 1200}
    update(transcription=given, turn_detection=turns)
    before = configuration
    update(transcription={"keywords": ["Anna"]})
    assert configuration == replace(before, keywords=("Anna",))
    update(turn_detection={"type": "server_vad", "threshold": 0.6})
    assert configuration.silence_ms == 1200
    update(transcription={"languages": None, "prompt": None, "keywords": None})
    assert configuration == replace(before, language=None, prompt="", keywords=())
    update(turn_detection=None)
    assert configuration.silence_ms is None
    update(turn_detection={"type": "server_vad"})
    assert configuration.silence_ms == 500


def test_a_long_prompt_is_cut_and_long_keywords_are_refused() -> None:
    """As for a file."""
    configuration = Configuration("sess_1", "whisper-1")

    def updated(transcription: dict[str, Any]) -> LiveSettings:
        sound = {"transcription": transcription}
        return configuration.updated({"audio": {"input": sound}}).settings("mini")

    assert updated({"prompt": "a" + "b" * 1000}).prompt == "b" * 1000
    with pytest.raises(SessionError, match=r"`transcription.keywords` has 501 characters"):
        updated({"keywords": ["a" * 250, "b" * 249]})
    with pytest.raises(SessionError, match=r"'model': .* at most 200"):
        updated({"model": "a" * 201})


def test_wrong_events(server: Server) -> None:
    with connected(server) as connection:
        inner = connection._connection

        def refused(event: Any) -> tuple[str, str]:
            inner.send(event if isinstance(event, str) else json.dumps(event))
            answer = connection.recv()
            assert answer.type == "error", answer
            return str(answer.error.code), answer.error.message

        sound: Any = {"transcription": {"model": "nothing"}}
        update: dict[str, Any] = {"type": "session.update", "session": {"audio": {"input": sound}}}
        assert refused("no json")[0] == "invalid_json"
        assert refused({"type": "response.create"})[0] == "unknown_event"
        assert refused({"type": "input_audio_buffer.append", "audio": "%"})[0] == "bad_audio"
        assert refused({"type": "input_audio_buffer.append"})[0] == "bad_audio"
        assert (
            refused({"type": "input_audio_buffer.commit"})[0] == "input_audio_buffer_commit_empty"
        )
        assert refused(update)[0] == "model_not_found"
        sound = {"transcription": {"language": "de"}}
        assert refused(update | {"session": {"audio": {"input": sound}}})[0] == "invalid_option"
        for sound in (
            {"turn_detection": {"type": "psychic"}},
            {"turn_detection": {"type": "server_vad", "silence_duration_ms": 99}},
            {"format": {"type": "audio/pcmu"}},
            {"transcription": {"language": "klingon"}},
            {"transcription": {"keywords": [1]}},
            {"transcription": {"keywords": 1}},
            {"transcription": {"languages": 1}},
            {"transcription": {"prompt": 1}},
            {"transcription": {"model": "vocals:mini"}},
            {"transcription": 7},
        ):
            update["session"] = {"audio": {"input": sound}}
            assert refused(update)[0] == "invalid_setting", sound
        # The session goes on.
        configure(connection, turn_detection=None)


def test_errors_repeat_the_id_of_the_event(server: Server) -> None:
    """Half a surrogate pair is text in JSON, but not in UTF-8."""
    with connected(server) as connection:
        for event_id in ("mine", "\ud83c", "x" * 513, 7):
            event = {"type": "response.create", "event_id": event_id}
            connection._connection.send(json.dumps(event))
            answer = json.loads(connection.recv_bytes())
            assert answer["type"] == "error"
            is_repeated = event_id in ("mine", "\ud83c")
            assert answer["error"]["event_id"] == (event_id if is_repeated else None)


def test_settings_change_after_an_utterance(server: Server, recording: Spoken) -> None:
    """With the event of older clients, in the middle of a sentence."""
    with connected(server) as connection:
        configure(connection, turn_detection=None, transcription={"language": "en"})
        say(connection, recording.part(0, 1))
        session = {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-4o-mini-transcribe", "language": ""},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 350},
        }
        update = {"type": "transcription_session.update", "session": session}
        connection._connection.send(json.dumps(update))
        connection.input_audio_buffer.commit()
        kinds = []
        while "transcription_session.updated" not in kinds:
            event = json.loads(connection.recv_bytes())
            assert event["type"] != "error", event
            kinds.append(event["type"])
        assert f"{TRANSCRIPTION}.completed" in kinds
        sound = event["session"]["audio"]["input"]
        assert sound["turn_detection"]["silence_duration_ms"] == 350
        assert sound["transcription"]["language"] is None
