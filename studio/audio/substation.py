"""Times and text of Advanced SubStation Alpha."""

# Players differ in whether braces can be escaped, and a backslash begins a command unless a word
# joiner follows it.
_TEXT = {0x7B: "(", 0x7D: ")", 0x5C: "\\\u2060"}


def plain(text: str) -> str:
    """Text without commands."""
    return text.translate(_TEXT)


def hundredths(time_s: float) -> int:
    return round(100 * time_s)


def clock(hundredths: int) -> str:
    """hours:minutes:seconds.hundredths."""
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
