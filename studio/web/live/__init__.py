"""The Socket.IO server: live transcription, and the progress of jobs."""
