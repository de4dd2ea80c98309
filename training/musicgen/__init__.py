"""Makes musicgen-mini: rendered music, a tiny EnCodec, a tiny MusicGen, evaluation and the card."""
