"""The one variant of the analysis, with its weights."""

from pathlib import Path

from studio.inference.variants import BUNDLED, MIT, Catalogue, Variant, Where

WEIGHTS = "weights.json"


class AnalysisCatalogue(Catalogue[Variant]):
    """Knows the bundled variant."""

    title = "Analysis"

    def __init__(self, bundled_dir: Path) -> None:
        self.weights = bundled_dir / WEIGHTS

    def bundled(self) -> Variant:
        return Variant(
            name=BUNDLED,
            purpose="Signal processing with two small classifiers made for this project",
            where=Where.BUNDLED,
            licence=MIT,
            size_bytes=self.weights.stat().st_size if self.weights.is_file() else None,
            files=(self.weights,),
            damage=None if self.weights.is_file() else f"{WEIGHTS} is missing",
        )
