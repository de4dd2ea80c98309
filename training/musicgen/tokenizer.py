"""The tokenizer of the closed vocabulary: whole words, small letters, everything else unknown."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from .prompts import UNKNOWN_WORD, vocabulary

PAD, END = "<pad>", "</s>"
MAX_WORDS = 512


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Pad is 0 and the end of a text 1, as T5 has it."""
    words = [PAD, END, UNKNOWN_WORD, *vocabulary()]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN_WORD))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\w]+"), "removed")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, ids[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN_WORD,
        model_max_length=MAX_WORDS,
    )
