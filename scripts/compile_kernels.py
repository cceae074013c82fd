"""Compile the kernels that most tests use, so that `make test` may do it while mypy reads.

    python scripts/compile_kernels.py

numba keeps what it compiles on disk. Without this, two processes of a fresh checkout's first test
run often compile the same kernel at the same time.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch

import speechasym
from speechasym.cli.main import main
from speechasym.feature_extraction.pitch import pitch

DATA = Path(__file__).resolve().parents[1] / "data"


def compile_kernels() -> None:
    """Call what leads to the kernels of features, gradients, search, alignment and librosa."""
    recording = DATA / "librivox-austen-0930.flac"
    x, rate = speechasym.load(recording)
    for kind in ("gammatone", "constant-q"):
        speechasym.spectrogram(x, rate, kind=kind)
    pitch(x, rate)
    for compact in (True, False):
        speechasym.Asymmetry(rate, compact=compact)(x)
    bank = speechasym.Gammatone(rate, learnable=True)
    samples = torch.from_numpy(np.float32(x[:4000])).requires_grad_()
    bank.level_db(bank(samples)[0]).sum().backward()
    text = "he might even have been made amiable himself"
    with tempfile.TemporaryDirectory() as folder:
        run(["transcribe", str(recording)])
        run(["align", str(recording), text, "--out", folder])
        words, lexicon = Path(folder, "words.txt"), Path(folder, "lexicon.txt")
        words.write_text("moan\n")
        lexicon.write_text("MAN  M AE N\nNONE  N AH N\nON  AA N\n")
        options = ["--guess", "--words", str(words), "--out", f"{folder}/guessed.txt"]
        run(["lexicon", str(lexicon), *options])


def run(words: list[str]) -> None:
    """Run a command silently; if it fails, raise what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    if code:
        raise RuntimeError(said.getvalue())


if __name__ == "__main__":
    compile_kernels()
