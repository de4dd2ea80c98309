"""Whisper's tokenizer as a `tokenizer.json`, made from the token list that openai-whisper bundles.

tiktoken stores the rank of every token; the `tokenizers` library wants the merges that lead to
it. A token's merge is the pair that is left when only lower ranks are merged.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from . import tokens


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in characters:
            characters[byte] = chr(256 + len(characters) - len(plain))
    return characters


def _split(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The parts of a token just before its own merge."""
    parts = [token[place : place + 1] for place in range(len(token))]
    limit = ranks[token]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, limit) for a, b in pairwise(parts)]
        best = min(pairs)
        if best >= limit:
            break
        place = pairs.index(best)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def _names() -> dict[bytes, str]:
    characters = _byte_characters()
    ranks = tokens.tokenizer().encoding._mergeable_ranks
    return {token: "".join(characters[byte] for byte in token) for token in ranks}


def token_names() -> list[str]:
    """The names of all tokens in the order of their numbers, timestamps last."""
    encoding = tokens.tokenizer().encoding
    written = _names()
    by_number = {number: written[token] for token, number in encoding._mergeable_ranks.items()}
    by_number |= {number: name for name, number in encoding._special_tokens.items()}
    return [by_number[number] for number in range(tokens.VOCABULARY_SIZE)]


def write_tokenizer(path: Path) -> None:
    """Write the file that the `tokenizers` library reads."""
    ranks = tokens.tokenizer().encoding._mergeable_ranks
    written = _names()
    vocabulary = {written[token]: number for token, number in ranks.items()}
    merges = []
    for token, _ in sorted(ranks.items(), key=lambda item: item[1]):
        parts = _split(token, ranks) if len(token) > 1 else []
        if len(parts) == 2:
            merges.append((written[parts[0]], written[parts[1]]))
    result = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    result.post_processor = processors.ByteLevel(trim_offsets=False)
    names = token_names()[len(ranks) :]
    timed = len(names) - tokens.TIMESTAMPS
    result.add_special_tokens([AddedToken(name, special=True) for name in names[:timed]])
    result.add_tokens([AddedToken(name, special=False) for name in names[timed:]])
    result.save(str(path), pretty=False)
