"""Speech perception from asymmetries. See README.md."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechasym.audio import add_noise, load
    from speechasym.errors import AudioError, ConfigError, OutputError, SpeechAsymError
    from speechasym.evaluation import evaluate
    from speechasym.extraction import extract
    from speechasym.featuresets import features
    from speechasym.gammatone import Gammatone
    from speechasym.training import train
    from speechasym.transcription import transcribe

_HOME = {
    "add_noise": "audio",
    "load": "audio",
    "AudioError": "errors",
    "ConfigError": "errors",
    "OutputError": "errors",
    "SpeechAsymError": "errors",
    "evaluate": "evaluation",
    "extract": "extraction",
    "features": "featuresets",
    "Asymmetry": "asymmetry",
    "Gammatone": "gammatone",
    "noise_test": "noisetest",
    "train": "training",
    "transcribe": "transcription",
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
