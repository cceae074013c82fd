"""Speech perception from asymmetries. See README.md."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechasym.audio.reading import add_noise, load
    from speechasym.auditory.gammatone import Gammatone
    from speechasym.errors import AudioError, ConfigError, OutputError, SpeechAsymError
    from speechasym.feature_extraction.extraction import extract
    from speechasym.feature_extraction.sets import features
    from speechasym.recognition.evaluation import evaluate
    from speechasym.recognition.transcription import transcribe
    from speechasym.training.loop import train

_HOME = {
    "add_noise": "audio.reading",
    "load": "audio.reading",
    "AudioError": "errors",
    "ConfigError": "errors",
    "OutputError": "errors",
    "SpeechAsymError": "errors",
    "evaluate": "recognition.evaluation",
    "extract": "feature_extraction.extraction",
    "features": "feature_extraction.sets",
    "Asymmetry": "asymmetry.extractor",
    "Gammatone": "auditory.gammatone",
    "noise_test": "asymmetry.surrogates",
    "train": "training.loop",
    "transcribe": "recognition.transcription",
}
__all__ = [
    "Asymmetry",
    "AudioError",
    "ConfigError",
    "Gammatone",
    "OutputError",
    "SpeechAsymError",
    "add_noise",
    "evaluate",
    "extract",
    "features",
    "load",
    "noise_test",
    "train",
    "transcribe",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `speechasym --help` must not wait two seconds for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'speechasym' has no attribute {name!r}")
    return getattr(import_module(f"speechasym.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
