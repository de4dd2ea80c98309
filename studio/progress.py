"""How work that takes its time tells how far it is."""

from collections.abc import Callable

Report = Callable[[str, float], None]
"""Called with the stage and the progress 0..1; may raise to end the job."""
