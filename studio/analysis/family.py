"""The analysis of songs as a model family."""

from collections.abc import Mapping
from typing import ClassVar

from studio.analysis.catalogue import AnalysisCatalogue
from studio.analysis.model import AnalysisModel
from studio.analysis.options import AnalysisOptions
from studio.analysis.result import CONTENT_TYPES, AnalysisResult, tracks_of
from studio.errors import ModelUnusable
from studio.family import Family, JobContext
from studio.results import SOUND_FORMATS, Track
from studio.sources import Sources
from studio.storage.uploads import Upload


class Analysis(Family[AnalysisOptions, AnalysisModel, AnalysisResult]):
    """Finds tempo, beats, key, chords, loudness and tuning of an uploaded song."""

    name = "analysis"
    options = AnalysisOptions
    result = AnalysisResult
    formats: ClassVar[Mapping[str, str]] = {**CONTENT_TYPES, **SOUND_FORMATS}
    tracks_help = "analysis, click"

    def __init__(self, catalogue: AnalysisCatalogue, sources: Sources) -> None:
        self.catalogue: AnalysisCatalogue = catalogue
        self._sources = sources

    def load(self, variant: str) -> AnalysisModel:
        if damage := self.catalogue.check(variant).damage:
            raise ModelUnusable(f"The analysis cannot be used: {damage}.")
        return AnalysisModel.load(self.catalogue.weights)

    def work(
        self, model: AnalysisModel, upload: Upload, context: JobContext[AnalysisOptions]
    ) -> AnalysisResult:
        from studio.analysis.analyse import analyse

        assert upload.sound is not None
        return analyse(model, self._sources.upload(upload), upload.sound.channels, context)

    def tracks(self, result: AnalysisResult) -> list[Track]:
        return tracks_of(result)
