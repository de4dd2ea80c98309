"""Interim words: what two hypotheses in a row agree on stays; what is repeated for ever is cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.transcription.engine import COMPRESSION_RATIO_MOST
from studio.transcription.live.agreement import Agreement, plain
from studio.transcription.live.loops import LONGEST_PHRASE, MOST_REPEATS, without_loops
from studio.transcription.transcript import Segment, Word

# A busy machine is no defect.
UNHURRIED = settings(deadline=None)
LOOPING = COMPRESSION_RATIO_MOST + 0.1


def words(text: str, from_s: float = 0.0, late_s: float = 0.0) -> list[Word]:
    """Words of 0.4 s one after the other; all of them `late_s` later."""
    return [
        Word(f" {word}", from_s + 0.4 * place + late_s, from_s + 0.4 * place + 0.4 + late_s, 0.9)
        for place, word in enumerate(text.split())
    ]


def text(found: list[Word]) -> str:
    return "".join(word.text for word in found).strip()


def told(*hypotheses: list[Word]) -> Agreement:
    agreement = Agreement()
    for hypothesis in hypotheses:
        agreement.update(hypothesis)
    return agreement


def test_a_word_stays_once_it_was_understood_twice_in_a_row() -> None:
    agreement = told(words("play the drums"))
    assert (text(agreement.committed), text(agreement.words)) == ("", "play the drums")
    agreement.update(words("play the drums loud"))
    assert text(agreement.committed) == "play the drums"
    assert text(agreement.words) == "play the drums loud"


def test_what_differs_waits_and_all_after_it() -> None:
    agreement = told(words("play a drum now"), words("play the drum now"))
    assert text(agreement.committed) == "play"
    agreement.update(words("play the drum now"))
    assert text(agreement.committed) == "play the drum now"


def test_capitals_and_punctuation_are_no_difference() -> None:
    agreement = told(words("play the drums"), words("Play, the Drums."))
    assert text(agreement.committed) == "Play, the Drums."
    assert plain(" Drums.") == plain("drums")


def test_committed_words_stay_as_they_were_told() -> None:
    agreement = told(words("play the drums"), words("play the drums"), words("Play the trumps now"))
    assert text(agreement.committed) == "play the drums"
    assert text(agreement.words) == "play the drums now"


@pytest.mark.parametrize("late_s", [-0.3, -0.1, 0.0, 0.1, 0.3, 1.0])
def test_words_that_move_a_little_are_not_doubled(late_s: float) -> None:
    agreement = told(words("stop the drums"), words("stop the drums"))
    agreement.update(words("stop the drums now", late_s=late_s))
    assert text(agreement.words) == "stop the drums now"


def test_an_early_copy_of_committed_words_is_not_doubled() -> None:
    """The hypothesis tells the beginning otherwise, and places its last word early."""
    agreement = told(words("stop the drums"), words("stop the drums"))
    agreement.update([*words("top", 0.3), *words("drums now", 0.75)])
    assert text(agreement.words) == "stop the drums now"


def test_words_that_are_said_twice_are_kept() -> None:
    agreement = told(words("no no"), words("no no no"), words("no no no"))
    assert text(agreement.committed) == "no no no"


def test_an_empty_hypothesis_takes_back_only_what_is_open() -> None:
    agreement = told(words("play the drums"), words("play the"), [])
    assert text(agreement.words) == "play the"


PHRASES = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


@UNHURRIED
@given(hypotheses=st.lists(PHRASES, max_size=8), late=st.lists(st.floats(-0.3, 0.3), max_size=8))
def test_committed_words_never_change(hypotheses: list[str], late: list[float]) -> None:
    agreement = Agreement()
    history: list[list[Word]] = [[]]
    for number, hypothesis in enumerate(hypotheses):
        agreement.update(words(hypothesis, 1.0, late[number] if number < len(late) else 0.0))
        history.append(list(agreement.committed))
        assert agreement.words[: len(agreement.committed)] == agreement.committed
    for before, after in pairwise(history):
        assert after[: len(before)] == before


@UNHURRIED
@given(spoken=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12), data=st.data())
def test_an_engine_that_hears_right_is_told_right(spoken: list[str], data: st.DataObject) -> None:
    """Longer and longer beginnings of the same text: the words are those of the last one."""
    lengths = data.draw(st.lists(st.integers(0, len(spoken)), min_size=1, max_size=8).map(sorted))
    agreement = told(*(words(" ".join(spoken[:length])) for length in lengths))
    assert text(agreement.words).split() == spoken[: lengths[-1]]


def segment(said: str, ratio: float = LOOPING) -> Segment:
    found = tuple(words(said))
    return Segment(0.0, 0.4 * len(found), text(list(found)), found, compression_ratio=ratio)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("thank you thank you thank you thank you thank you", "thank you"),
        ("play la la la la la la now", "play la now"),
        ("Go. go, GO! go go", "Go."),
        ("a b c d e f a b c d e f a b c d e f a b c d e f", "a b c d e f"),
        ("no no no", "no no no"),
        ("one two three", "one two three"),
    ],
)
def test_what_is_repeated_for_ever_is_said_once(said: str, left: str) -> None:
    (cut,) = without_loops([segment(said)])
    assert text(list(cut.words)) == cut.text.strip() == left
    assert cut.end_s == cut.words[-1].end_s


def test_ordinary_text_may_repeat_itself() -> None:
    usual = segment("no no no no no", ratio=COMPRESSION_RATIO_MOST)
    assert without_loops([usual])[0] is usual


def test_a_segment_without_words_is_left_alone() -> None:
    bare = Segment(0.0, 1.0, " la la la la la la", compression_ratio=LOOPING)
    assert without_loops([bare])[0] is bare


def left(segments: list[Segment]) -> list[str]:
    """The words that are kept."""
    return [word.text.strip() for one in without_loops(segments) for word in one.words]


def loops(said: list[str]) -> list[str]:
    """The phrases that are said more often in a row than may be."""
    return [
        " ".join(said[place : place + length])
        for length in range(1, LONGEST_PHRASE + 1)
        for place in range(len(said) - length * (MOST_REPEATS + 1) + 1)
        if said[place : place + length] * (MOST_REPEATS + 1)
        == said[place : place + length * (MOST_REPEATS + 1)]
    ]


@UNHURRIED
@given(st.lists(st.tuples(PHRASES, st.integers(1, 7)), max_size=6))
def test_no_loop_is_left(parts: list[tuple[str, int]]) -> None:
    said = " ".join(" ".join([phrase] * times) for phrase, times in parts).split()
    cut = left([segment(" ".join(said))] if said else [])
    assert loops(cut) == []
    assert set(cut) == set(said)
    if not loops(said):
        assert cut == said


def test_a_loop_that_only_shows_once_another_is_cut() -> None:
    said = "a b c " + "a b c a " * 4 + "b c a b c"
    assert loops(left([segment(said)])) == []


def test_a_loop_through_several_segments_is_cut() -> None:
    """As the model writes it with time marks: each round is a segment of its own."""
    said = [segment("play the song", ratio=1.0), *[segment("thank you")] * 8, segment("now")]
    assert left(said) == ["play", "the", "song", "thank", "you", "now"]
    assert len(without_loops(said)) == 3
