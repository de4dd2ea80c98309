"""Makes the bundled models."""
