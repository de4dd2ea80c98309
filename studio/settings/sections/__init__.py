"""The settings by subject; `config.Config` has them all."""
