"""Samples from an input device, block by block, by sounddevice (PortAudio), which is optional."""

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from speechasym.errors import AudioError, ConfigError

WAIT_S = 2.0  # a device that gives nothing for so long has gone
BUFFER_S = 10.0  # that wait to be read; what comes later is lost


class Microphone:
    """An input device whose sound is read as it comes, in mono.

    Iterate to get blocks of samples (T,) at `sample_rate`, until the device fails. A device that
    does not offer the rate is resampled. What it loses is counted in `lost`.

    Args:
        device: number or part of the name of an input device; default: the system's.
        sample_rate: Hz.
        seconds: length of a block.

    Raises:
        ConfigError: sounddevice or PortAudio is not installed.
        AudioError: no such device, or one that cannot be opened; while reading, one that stops.
    """

    def __init__(self, device: int | str | None, sample_rate: int, seconds: float) -> None:
        self._sounddevice = sd = _sounddevice()
        self.sample_rate, self.overruns, self._lost = sample_rate, 0, 0
        if isinstance(device, str) and device.isdecimal():
            device = int(device)
        self.device = device
        self.name = "microphone" if device is None else f"device {device}"
        try:
            about = sd.query_devices(self.device, "input")
        except (ValueError, sd.PortAudioError) as error:
            raise self._unknown() from error
        self._rate = sample_rate
        try:
            sd.check_input_settings(self.device, channels=1, dtype="float32", samplerate=self._rate)
        except sd.PortAudioError:
            self._rate = round(about["default_samplerate"])
        self._size = max(1, round(seconds * self._rate))
        self._blocks: queue.Queue[NDArray[np.float32]] = queue.Queue(round(BUFFER_S / seconds))

    @property
    def lost(self) -> float:
        """Time in s of the sound that came while `BUFFER_S` of it were waiting to be read."""
        return self._lost / self._rate

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        sd = self._sounddevice
        resample = None
        if self._rate != self.sample_rate:
            rates = self._rate, self.sample_rate
            resample = soxr.ResampleStream(*rates, 1, dtype="float32", quality="HQ")
        try:
            with sd.InputStream(
                device=self.device, samplerate=self._rate, channels=1, dtype="float32",
                blocksize=self._size, callback=self._heard,
            ):  # fmt: skip
                while True:
                    x = self._blocks.get(timeout=WAIT_S)
                    yield x if resample is None else resample.resample_chunk(x)
        except queue.Empty:
            problem = f"gave no sound for {WAIT_S:g} s: it was unplugged, or the system took it"
            raise AudioError(self.name, problem, "Connect it, and start again") from None
        except sd.PortAudioError as error:
            remedy = "Close other programs that use it, or choose another with --device"
            raise AudioError(self.name, f"cannot be read ({error})", remedy) from error

    def _heard(self, block: NDArray, frames: int, time: Any, status: Any) -> None:
        """Keep a block; this runs in a thread of PortAudio's, which must not wait."""
        self.overruns += bool(status and status.input_overflow)
        try:
            self._blocks.put_nowait(block[:, 0].copy())
        except queue.Full:
            self._lost += frames

    def _unknown(self) -> AudioError:
        inputs = [
            f"{number} {about['name']}"
            for number, about in enumerate(self._sounddevice.query_devices())
            if about["max_input_channels"] > 0
        ]
        if not inputs:
            remedy = "Connect a microphone, or read a file: --live FILE"
            return AudioError(self.name, "this machine has no input device", remedy)
        problem = "is not one input device"
        return AudioError(self.name, problem, f"Choose one with --device: {'; '.join(inputs)}")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        remedy = "pip install 'speechasym[mic]', or read a file: --live FILE"
        raise ConfigError("sounddevice", "must be installed to hear a device", remedy) from error
    except OSError as error:  # no PortAudio
        remedy = (
            "Install PortAudio (Debian: apt install libportaudio2), or read a file: --live FILE"
        )
        raise ConfigError("sounddevice", f"cannot hear a device: {error}", remedy) from error
    return sounddevice
