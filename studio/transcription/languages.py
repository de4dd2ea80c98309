"""The languages of Whisper, by code (ISO 639-1, otherwise 639-3) and English name."""

import re
from collections.abc import Set

from studio.errors import InvalidOption
from studio.transcription.language_codes import OTHER_CODES

NAMES = {
    "af": "afrikaans", "am": "amharic", "ar": "arabic", "as": "assamese", "az": "azerbaijani",
    "ba": "bashkir", "be": "belarusian", "bg": "bulgarian", "bn": "bengali", "bo": "tibetan",
    "br": "breton", "bs": "bosnian", "ca": "catalan", "cs": "czech", "cy": "welsh", "da": "danish",
    "de": "german", "el": "greek", "en": "english", "es": "spanish", "et": "estonian",
    "eu": "basque", "fa": "persian", "fi": "finnish", "fo": "faroese", "fr": "french",
    "gl": "galician", "gu": "gujarati", "ha": "hausa", "haw": "hawaiian", "he": "hebrew",
    "hi": "hindi", "hr": "croatian", "ht": "haitian creole", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "is": "icelandic", "it": "italian", "ja": "japanese", "jw": "javanese",
    "ka": "georgian", "kk": "kazakh", "km": "khmer", "kn": "kannada", "ko": "korean",
    "la": "latin", "lb": "luxembourgish", "ln": "lingala", "lo": "lao", "lt": "lithuanian",
    "lv": "latvian", "mg": "malagasy", "mi": "maori", "mk": "macedonian", "ml": "malayalam",
    "mn": "mongolian", "mr": "marathi", "ms": "malay", "mt": "maltese", "my": "myanmar",
    "ne": "nepali", "nl": "dutch", "nn": "nynorsk", "no": "norwegian", "oc": "occitan",
    "pa": "punjabi", "pl": "polish", "ps": "pashto", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sa": "sanskrit", "sd": "sindhi", "si": "sinhala", "sk": "slovak",
    "sl": "slovenian", "sn": "shona", "so": "somali", "sq": "albanian", "sr": "serbian",
    "su": "sundanese", "sv": "swedish", "sw": "swahili", "ta": "tamil", "te": "telugu",
    "tg": "tajik", "th": "thai", "tk": "turkmen", "tl": "tagalog", "tr": "turkish", "tt": "tatar",
    "uk": "ukrainian", "ur": "urdu", "uz": "uzbek", "vi": "vietnamese", "yi": "yiddish",
    "yo": "yoruba", "yue": "cantonese", "zh": "chinese",
}  # fmt: skip
# Other names that openai-whisper accepts.
ALIASES = {
    "burmese": "my", "castilian": "es", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb",
    "mandarin": "zh", "moldavian": "ro", "moldovan": "ro", "panjabi": "pa", "pushto": "ps",
    "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
LANGUAGES = frozenset(NAMES)
# Releases before large-v3 have no token for Cantonese.
EARLIER_LANGUAGES = LANGUAGES - {"yue"}
ENGLISH = frozenset({"en"})
_CODES = {name: code for code, name in NAMES.items()} | ALIASES | OTHER_CODES

_TAG = re.compile(r"([a-z]{2,3})([-_][a-z0-9]{2,8})+")


def language_code(text: str) -> str | None:
    """Whisper's code of a language given by any code of ISO 639 or English name; None if unknown.

    Case is ignored, and so is the region of a tag such as en-US.
    """
    wanted = " ".join(text.lower().split())
    if tag := _TAG.fullmatch(wanted):
        wanted = tag[1]
    return wanted if wanted in LANGUAGES else _CODES.get(wanted)


def check_language(
    language: str | None, known: Set[str], variant: str = "this variant of Whisper"
) -> None:
    """Raise InvalidOption if a language is given that is not one of those the model knows."""
    if language is not None and language not in known:
        remedy = (
            "It supports English only. Use a multilingual variant"
            if known == ENGLISH
            else "Use another variant, such as large-v3"
        )
        raise InvalidOption(
            f"`language` is {language!r}, which {variant} does not support. "
            f"{remedy}, or leave out `language`.",
            param="language",
        )
