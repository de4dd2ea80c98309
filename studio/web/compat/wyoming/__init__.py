"""Wyoming, the protocol of Home Assistant's voice assistants: speech to text on a TCP port.

Each utterance (`transcribe`, `audio-start`, `audio-chunk`..., `audio-stop`) is a live session as
those of `/transcribe`, and its text is sent as `transcript`. The protocol has no keys.
"""
