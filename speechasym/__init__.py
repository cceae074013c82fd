"""Speech perception from asymmetries. See README.md."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechasym.asymmetry import hysteresis
    from speechasym.asymmetry.extractor import Asymmetry
    from speechasym.asymmetry.surrogates import noise_test
    from speechasym.audio.reading import add_noise
    from speechasym.audio.sources import load
    from speechasym.auditory.gammatone import Gammatone
    from speechasym.auditory.spectrogram import GammatoneSpectrogram, export_onnx
    from speechasym.cli.doctor import check_installation
    from speechasym.corpora import prepare
    from speechasym.errors import (  # isort: skip
        AlignmentError, AnnotationError, ArpaError, AudioError, CheckpointError, ConfigError,
        CorpusError, DecodingError, ItemError, LabelError, LexiconError, MissingWordError,
        OutputError, ScoringError, SpeechAsymError, SynthesisError, TextError, TrainingError,
    )  # fmt: skip
    from speechasym.explorer.opening import explore
    from speechasym.feature_extraction.dataframes import read_features
    from speechasym.feature_extraction.extraction import extract
    from speechasym.feature_extraction.functionals import functionals
    from speechasym.feature_extraction.sets import features
    from speechasym.feature_extraction.spectrograms import spectrogram
    from speechasym.levels.hierarchy import Hierarchy
    from speechasym.plots.recordings import plot
    from speechasym.plots.runs import plot_run
    from speechasym.plots.several import plot_files
    from speechasym.ranks.activation import RankActivation
    from speechasym.recognition.activity import segments
    from speechasym.recognition.activity_files import segment_files
    from speechasym.recognition.align_cuts import align_cuts as align
    from speechasym.recognition.discovery import discover_files, discover_units
    from speechasym.recognition.evaluation import evaluate
    from speechasym.recognition.installed import install_model
    from speechasym.recognition.live import transcribe_live
    from speechasym.recognition.model_list import models
    from speechasym.recognition.recogniser import (  # isort: skip
        Recogniser, activations, transcribe, transcribe_files,
    )  # fmt: skip
    from speechasym.recognition.word_models import estimate_lm, make_lexicon
    from speechasym.report.page import write_report
    from speechasym.report.recording import write_recording_report
    from speechasym.scoring.abx import abx
    from speechasym.scoring.tables import score
    from speechasym.training.config import read_config
    from speechasym.training.loop import train

_HOME = {  # public name -> module, or module:name where the names differ; errors are in `errors`
    "Asymmetry": "asymmetry.extractor",
    "Gammatone": "auditory.gammatone",
    "GammatoneSpectrogram": "auditory.spectrogram",
    "Hierarchy": "levels.hierarchy",
    "RankActivation": "ranks.activation",
    "Recogniser": "recognition.recogniser",
    "abx": "scoring.abx",
    "activations": "recognition.recogniser",
    "add_noise": "audio.reading",
    "align": "recognition.align_cuts:align_cuts",
    "check_installation": "cli.doctor",
    "discover_files": "recognition.discovery",
    "discover_units": "recognition.discovery",
    "estimate_lm": "recognition.word_models",
    "evaluate": "recognition.evaluation",
    "explore": "explorer.opening",
    "export_onnx": "auditory.spectrogram",
    "extract": "feature_extraction.extraction",
    "features": "feature_extraction.sets",
    "install_model": "recognition.installed",
    "functionals": "feature_extraction.functionals",
    "load": "audio.sources",
    "make_lexicon": "recognition.word_models",
    "models": "recognition.model_list",
    "noise_test": "asymmetry.surrogates",
    "plot": "plots.recordings",
    "plot_files": "plots.several",
    "plot_run": "plots.runs",
    "prepare": "corpora",
    "read_config": "training.config",
    "read_features": "feature_extraction.dataframes",
    "score": "scoring.tables",
    "segment_files": "recognition.activity_files",
    "segments": "recognition.activity",
    "spectrogram": "feature_extraction.spectrograms",
    "train": "training.loop",
    "transcribe": "recognition.recogniser",
    "transcribe_files": "recognition.recogniser",
    "transcribe_live": "recognition.live",
    "write_recording_report": "report.recording",
    "write_report": "report.page",
}
__all__ = [
    "AlignmentError", "AnnotationError", "ArpaError", "Asymmetry", "AudioError", "CheckpointError",
    "ConfigError", "CorpusError", "DecodingError", "Gammatone", "GammatoneSpectrogram", "Hierarchy",
    "ItemError", "LabelError", "LexiconError", "MissingWordError", "OutputError", "RankActivation",
    "Recogniser", "ScoringError", "SpeechAsymError", "SynthesisError", "TextError", "TrainingError",
    "abx", "activations", "add_noise", "align", "check_installation", "discover_files",
    "discover_units", "estimate_lm", "evaluate", "explore", "export_onnx", "extract",
    "features", "functionals", "hysteresis", "install_model", "load", "make_lexicon", "models",
    "noise_test", "plot", "plot_files", "plot_run", "prepare", "read_config", "read_features",
    "score", "segment_files", "segments", "spectrogram", "train", "transcribe", "transcribe_files",
    "transcribe_live", "write_recording_report", "write_report",
]  # fmt: skip
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `speechasym --help` must not wait two seconds for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'speechasym' has no attribute {name!r}")
    if name == "hysteresis":  # a module
        return import_module("speechasym.asymmetry.hysteresis")
    module, _, attribute = _HOME.get(name, "errors").partition(":")
    return getattr(import_module(f"speechasym.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
