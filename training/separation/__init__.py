"""Makes demucs-mini: songs from many sources, training, evaluation and the card."""
