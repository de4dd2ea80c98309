"""Makes whisper-mini: synthetic speech, training, export, evaluation and the card."""
