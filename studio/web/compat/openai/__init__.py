"""OpenAI's audio API, under `/v1`; `docs/openai.md` is the reference."""
