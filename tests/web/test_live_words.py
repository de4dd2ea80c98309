"""Live transcription over real sockets, with the bundled model: the right words, once, in order."""

import random
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from studio.transcription.engine import RATE_HZ
from tests.support.hearing import chunks, hiss, silence
from tests.support.live_client import Client, chunk, finals
from tests.support.server import Server
from tests.support.sounds import convert, noise, write_wav
from tests.support.speech import MAX_WRONG, RECORDING, Spoken, instrumental, wrong


def heard(client: Client, recording: Spoken, *sizes: int, **more: Any) -> list[dict[str, Any]]:
    """The finals of the recording, which are also what `finished` tells."""
    client.say(recording.sound, *sizes, **more)
    events = client.finish()
    texts = [data["transcription"] for data in finals(events)]
    assert events[-1][1]["text"] == " ".join(text for text in texts if text)
    assert [data["segment"] for data in finals(events)] == list(range(len(texts)))
    return finals(events)


def text(found: list[dict[str, Any]]) -> str:
    return " ".join(data["transcription"] for data in found)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_is_said_is_written_down(
    live_server: Server, recording: Spoken, transport: str
) -> None:
    with Client(live_server, transport) as client:
        client.greeting()
        found = heard(client, recording, binary=transport == "websocket")
    assert wrong(recording.text, text(found)) <= MAX_WRONG
    words = [word for data in found for word in data["words"]]
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)
    assert all(0 <= word["probability"] <= 1 for word in words)
    assert all(data["language"] == "en" for data in found)


@pytest.mark.slow
def test_chunks_of_any_size_give_the_same_finals(live_server: Server, recording: Spoken) -> None:
    """A second's worth, a hundredth's, and random ones; the same connection throughout."""
    draw = random.Random(7)
    with Client(live_server) as client:
        client.greeting()
        expected = [data["transcription"] for data in heard(client, recording, RATE_HZ)]
        for sizes in ([160], [draw.randint(100, 30_000) for _ in range(50)], [100_000]):
            assert [data["transcription"] for data in heard(client, recording, *sizes)] == expected


def test_two_speakers_get_their_own_words(live_server: Server, recording: Spoken) -> None:
    """Both at once, each saying another half."""
    middle = len(recording.sentences) // 2
    halves = [(0, middle), (middle, len(recording.sentences))]
    found = ["", ""]

    def speak(number: int) -> None:
        with Client(live_server) as client:
            client.greeting()
            client.say(recording.part(*halves[number]))
            found[number] = client.finish()[-1][1]["text"]

    threads = [Thread(target=speak, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (first, last), said in zip(halves, found, strict=True):
        assert wrong(" ".join(recording.sentences[first:last]), said) <= 2 * MAX_WRONG


def test_the_last_words_are_not_lost(live_server: Server, recording: Spoken) -> None:
    """`finish` comes right after the last word, in the middle of a sentence."""
    with Client(live_server) as client:
        client.greeting()
        for count in (2, 4):
            client.say(recording.sound[: round(recording.words[count - 1][2] * RATE_HZ)])
            said = client.finish()[-1][1]["text"]
            true = " ".join(word for word, _, _ in recording.words[:count])
            assert wrong(true, said) <= 0.5
            assert len(said.split()) == count


def test_a_connection_that_breaks_keeps_its_finals(live_server: Server, recording: Spoken) -> None:
    """What went on is gone, as the protocol says; the next connection begins anew."""
    with Client(live_server) as client:
        client.greeting()
        client.say(recording.part(0, 2), 4000)
        client.say(np.append(silence(0.6), recording.part(2, 3)[:RATE_HZ]), 4000)
        kept: list[dict[str, Any]] = []
        while len(kept) < 2:
            kept += finals(client.until("transcription"))
    assert [data["segment"] for data in kept] == [0, 1]
    with Client(live_server) as again:
        again.greeting()
        again.say(recording.part(2, 3), 4000)
        events = again.finish()
    assert [data["segment"] for data in finals(events)] == [0]
    true = " ".join(recording.sentences[:3])
    assert wrong(true, text([*kept, *finals(events)])) <= MAX_WRONG


@pytest.mark.parametrize("name", ["silence", "noise", "music"])
def test_where_nobody_speaks_nothing_comes(live_server: Server, name: str) -> None:
    sound = {"silence": silence(20), "noise": hiss(20), "music": instrumental()[0]}[name]
    with Client(live_server) as client:
        client.greeting()
        client.say(sound)
        events = client.finish()
    assert [event for event, _ in events] == ["finished"]
    assert events[0][1]["text"] == ""


@pytest.mark.parametrize("container", ["webm", pytest.param("ogg", marks=pytest.mark.slow)])
def test_what_a_browser_records_is_written_down(
    live_server: Server, recording: Spoken, container: str, tmp_path: Path
) -> None:
    """Twice without `finish` in between: a new recording may follow on the same connection."""
    path = convert(RECORDING, tmp_path / f"spoken.{container}", "-c:a", "libopus", "-b:a", "48k")
    data = path.read_bytes()
    with Client(live_server) as client:
        client.greeting()
        for _ in range(2):
            for start in range(0, len(data), 4000):
                client.emit("audio", chunk(data[start : start + 4000], f"audio/{container}"))
        found = text(finals(client.finish()))
    assert wrong(f"{recording.text} {recording.text}", found) <= 2 * MAX_WRONG


def test_other_rates_and_stereo_are_written_down(live_server: Server, recording: Spoken) -> None:
    import soxr

    wide = soxr.resample(recording.sound, RATE_HZ, 44_100)
    data = (np.stack([wide, wide], 1) * 32767).astype("<i2").tobytes()
    with Client(live_server) as client:
        client.greeting()
        for start in range(0, len(data), 40_000):
            kind = "audio/pcm;rate=44100;channels=2"
            client.emit("audio", chunk(data[start : start + 40_000], kind))
        assert wrong(recording.text, text(finals(client.finish()))) <= 2 * MAX_WRONG


@pytest.mark.slow
def test_a_separation_goes_on_beside_a_speaker(
    live_server: Server, recording: Spoken, tmp_path: Path
) -> None:
    """Both come to their end, and the words are the same."""
    song = write_wav(tmp_path / "song.wav", noise(20.0, seed=5))
    with Client(live_server) as client:
        client.greeting()
        expected = text(heard(client, recording))
        file_id = live_server.upload(song)
        assert live_server.process(file_id).status_code == 202
        assert text(heard(client, recording)) == expected
    assert live_server.wait(file_id)["status"] == "completed"


def test_interim_texts_come_while_someone_speaks(live_server: Server, recording: Spoken) -> None:
    """A speaker in real time reads unfinished sentences, each of the segment that comes next."""
    clock = Event()
    with Client(live_server) as client:
        client.greeting()
        for part in chunks(recording.part(0, 3), RATE_HZ // 4):
            client.say(part)
            clock.wait(0.25)
        events = client.finish()
    ended, interims = 0, 0
    for name, data in events:
        if name == "transcription":
            assert data["segment"] == ended
            assert data["transcription"].startswith(data["stable"])
            ended += data["is_final"]
            interims += not data["is_final"]
    assert ended
    assert interims


def test_interim_texts_and_words_can_be_left_out(live_server: Server, recording: Spoken) -> None:
    with Client(live_server) as client:
        client.greeting()
        client.emit("configure", {"interim_results": False, "words": False})
        assert client.next()[0] == "configured"
        client.say(recording.part(0, 2))
        texts = [data for event, data in client.finish() if event == "transcription"]
    assert texts
    assert all(data["is_final"] and "words" not in data for data in texts)


def test_a_long_prompt_and_long_hotwords_fit_together(
    live_server: Server, recording: Spoken
) -> None:
    """Both at their bounds are more than the model's context holds."""
    wanted = {"prompt": "quiet xray. " * 83, "hotwords": "yankee " * 71}
    with Client(live_server) as client:
        client.greeting()
        client.emit("configure", wanted)
        assert client.next()[0] == "configured"
        client.say(recording.part(0, 1))
        assert "error" not in dict(client.finish())
