"""OpenAI's Realtime API for transcription: a WebSocket over a live session of this server."""
