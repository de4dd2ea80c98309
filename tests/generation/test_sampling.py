"""Codes are drawn as the options say, each track on its own."""

import numpy as np
import pytest

from studio.generation.model import Logits
from studio.generation.sampling import Sampler, Sampling

PLAIN = Sampling(guidance_scale=1.0)


def logits(rows: int = 1, seed: int = 0, size: int = 50) -> Logits:
    random = np.random.default_rng(seed)
    return random.normal(0, 2, (rows, 4, size)).astype(np.float32)


def drawn(sampling: Sampling, scores: Logits, times: int) -> np.ndarray:
    """(times, codebooks) of one row."""
    sampler = Sampler(sampling, 1, 1)
    return np.stack([sampler(scores)[0] for _ in range(times)])


def test_codes_come_as_often_as_their_probability_says() -> None:
    scores = logits(size=6)
    found = drawn(Sampling(guidance_scale=1.0, temperature=1.5), scores, 20_000)
    weights = np.exp(scores[0].astype(np.float64) / 1.5)
    expected = weights / weights.sum(axis=1, keepdims=True)
    for codebook in range(4):
        share = np.bincount(found[:, codebook], minlength=6) / len(found)
        assert np.abs(share - expected[codebook]).max() < 0.02


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_only_the_likeliest_codes_are_taken(top_k: int) -> None:
    scores = logits()
    found = drawn(Sampling(1.0, 1.0, top_k, 1.0), scores, 3000)
    for codebook in range(4):
        best = set(np.argsort(-scores[0, codebook])[:top_k].tolist())
        assert set(found[:, codebook].tolist()) <= best
        assert len(set(found[:, codebook].tolist())) >= min(top_k, 3)


@pytest.mark.parametrize("top_p", [0.001, 0.3, 0.8])
def test_only_codes_of_the_wanted_probability_are_taken(top_p: float) -> None:
    scores = logits(size=8)
    found = drawn(Sampling(1.0, 1.0, 0, top_p), scores, 5000)
    for codebook in range(4):
        weights = np.exp(scores[0, codebook].astype(np.float64))
        order = np.argsort(-weights)
        sums = np.cumsum(weights[order]) / weights.sum()
        inside = order[: int((sums < top_p).sum()) + 1]
        assert set(found[:, codebook].tolist()) == set(inside.tolist())


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-38])
def test_temperature_0_takes_the_likeliest(temperature: float) -> None:
    scores = logits(3)
    assert np.array_equal(Sampler(Sampling(1.0, temperature), 1, 3)(scores), scores.argmax(2))


def test_guidance_leads_away_from_no_prompt() -> None:
    conditional, unconditional = logits(2, seed=1), logits(2, seed=2)
    found = Sampler(Sampling(4.0, 0.0), 1, 2)(np.concatenate([conditional, unconditional]))
    assert np.array_equal(found, (unconditional + 4 * (conditional - unconditional)).argmax(2))


def test_a_track_does_not_depend_on_how_many_are_made() -> None:
    scores = np.repeat(logits(), 4, axis=0)
    alone, four = Sampler(PLAIN, 7, 1), Sampler(PLAIN, 7, 4)
    firsts = [(alone(scores[:1])[0], four(scores)) for _ in range(50)]
    assert all(np.array_equal(one, several[0]) for one, several in firsts)
    assert any(not np.array_equal(several[0], several[1]) for _, several in firsts)


def test_a_seed_repeats() -> None:
    scores = logits()
    assert np.array_equal(drawn(PLAIN, scores, 50), drawn(PLAIN, scores, 50))
    others = np.stack([Sampler(PLAIN, seed, 1)(scores)[0] for seed in range(50)])
    assert len(np.unique(others, axis=0)) > 10
