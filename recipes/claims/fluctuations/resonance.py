"""Do fluctuations carry what is smaller than a hysteresis' width over it? (C22).

A track of amplitude with a modulation weaker than the half-width r = 1 (or real tracks of speech,
scaled down until they are) passes a hysteresis with noise of its own added before it. README.md
defines operators and measures. Shapes: N trials, K draws of the noise, T samples of the track.

[1] L. Gammaitoni, P. Haenggi, P. Jung, F. Marchesoni, "Stochastic resonance", Reviews of Modern
    Physics 70 (1), 1998.
[2] N. G. Stocks, "Suprathreshold stochastic resonance in multilevel threshold systems", Physical
    Review Letters 84 (11), 2000.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.claims.asymmetry.common import COLOURS, Interval, axes, formatted, interval, log, save
from recipes.provenance import commit, machine, table
from speechasym.asymmetry import loops, tracks
from speechasym.asymmetry.hysteresis import Play, Relay
from speechasym.audio import sources
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.config import check_count
from speechasym.errors import ConfigError

SAMPLE_RATE = 16000
RATE = 500  # of a track, a second
SECONDS = 4
TONE_HZ = 4.0  # of the modulation
NEAR_HZ = (2.0, 6.0)  # with which its power is compared
OUTSIDE = 0.1  # standard deviation of the noise that comes with the stimulus, in widths
AMPLITUDES = (0.05, 0.1, 0.25, 0.5, 0.9)  # of the modulation, in widths
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # of the own noise, in widths
DRAWS = (1, 16)  # of the own noise, whose outputs are averaged
SEEDS, TRIALS = 10, 50
SPEECH = (0.1, 0.2, 0.4)  # standard deviation of a track of speech, in widths
CHANNELS = (8, 16, 24, 32)  # of the filterbank
Operator = Callable[[Tensor], Tensor]
OPERATORS: dict[str, Operator] = {
    "play": lambda x: Play([1.0])(x)[0][..., 0, :],
    "relay": lambda x: Relay([1.0], [-1.0])(x)[0][..., 0, :],
}


def passed(x: Tensor, operator: str, strength: float, draws: int, seed: int) -> Tensor:
    """Return what an operator passes on of tracks x (N, T): the mean over draws of its noise."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(x)
    for _ in range(draws if strength else 1):
        own = torch.randn(x.shape, generator=generator) * strength
        total += OPERATORS[operator](x + own)
    return total / (draws if strength else 1)


def stimuli(amplitude: float, trials: int, seed: int) -> Tensor:
    """Return tracks (N, T) with a modulation of random phase, and noise from outside."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(RATE * SECONDS) / RATE
    phase = torch.rand(trials, 1, generator=generator)
    outside = OUTSIDE * torch.randn(trials, len(time), generator=generator)
    return amplitude * (2 * np.pi * (TONE_HZ * time + phase)).sin() + outside


def tone_strength(y: Tensor) -> NDArray[np.float64]:
    """Return (N,) the power of y (N, T) at the modulation's rate over that of rates near it."""
    y = y - y.mean(1, keepdim=True)
    power = torch.fft.rfft(y).abs().square().double()
    near = slice(round(NEAR_HZ[0] * SECONDS), round(NEAR_HZ[1] * SECONDS) + 1)
    at = round(TONE_HZ * SECONDS)
    rest = (power[:, near].sum(1) - power[:, at]) / (near.stop - near.start - 1)
    return ((power[:, at] + 1e-12) / (rest + 1e-12)).numpy()


def detected(signal: NDArray, noise: NDArray) -> float:
    """Return the area under the ROC: how often a trial with the signal beats one without."""
    difference = signal[:, None] - noise[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def detection(
    operator: str | None, amplitude: float, strength: float, draws: int, seeds: int, trials: int
) -> NDArray[np.float64]:
    """Return areas (seeds,); operator None: the track itself, without hysteresis and own noise."""
    out = []
    for seed in range(seeds):
        found = []
        for number, level in enumerate((amplitude, 0.0)):
            x = stimuli(level, trials, 2 * seed + number)
            if operator is not None:
                x = passed(x, operator, strength, draws, 1000 + 2 * seed + number)
            found.append(tone_strength(x))
        out.append(detected(*found))
    return np.array(out)


def speech_tracks(files: list[Path]) -> list[Tensor]:
    """Return tracks (T,) of amplitude of recordings, in dB, with mean 0 and deviation 1.

    Raises `ConfigError` if a recording has no audible channel.
    """
    bank = FilterbankConfig(sample_rate=SAMPLE_RATE)
    d = tracks.design(tracks.AsymmetryConfig(bank=bank))
    out = []
    for file in files:
        x, _ = sources.load(file, SAMPLE_RATE)
        own = []
        for channel in CHANNELS:
            y, audible = loops.inner_tracks(x, d, channel)
            track = y["amplitude"][audible]
            if len(track) > RATE // 2 and track.std() > 0:
                own.append(torch.from_numpy((track - track.mean()) / track.std()).float())
        if not own:
            raise ConfigError(str(file), "has no audible channel", "Use recordings of speech")
        out += own
    return out


def kept(own: list[Tensor], scale: float, operator: str, strength: float, draws: int) -> NDArray:
    """Return (tracks,) squared correlations of what is passed on with the track itself."""
    out = []
    for number, track in enumerate(own):
        y = passed(scale * track[None], operator, strength, draws, number)[0]
        y = y - y.mean()
        power = float(y.square().sum())
        inner = float((y * track).sum())
        out.append(inner**2 / (power * float(track.square().sum())) if power > 0 else 0.0)
    return np.array(out)


def tones(seeds: int, trials: int) -> list[dict]:
    """Return a line for each operator, amplitude, number of draws and strength."""
    lines = []
    for amplitude in AMPLITUDES:
        plain = detection(None, amplitude, 0.0, 1, seeds, trials)
        lines.append({"operator": "none", "amplitude": amplitude, "draws": 1, "strength": 0.0,
                      "area": plain.tolist()})  # fmt: skip
        for operator in OPERATORS:
            for draws in DRAWS:
                for strength in STRENGTHS:
                    area = detection(operator, amplitude, strength, draws, seeds, trials)
                    lines.append({"operator": operator, "amplitude": amplitude, "draws": draws,
                                  "strength": strength, "area": area.tolist()})  # fmt: skip
        log(f"tones of {amplitude:g} widths")
    return lines


def speech(files: list[Path]) -> list[dict]:
    """Return a line for each operator, scale, number of draws and strength."""
    own, lines = speech_tracks(files), []
    for scale in SPEECH:
        for operator in OPERATORS:
            for draws in DRAWS:
                for strength in STRENGTHS:
                    r2 = kept(own, scale, operator, strength, draws)
                    lines.append({"operator": operator, "amplitude": scale, "draws": draws,
                                  "strength": strength, "kept": r2.tolist()})  # fmt: skip
        log(f"speech of {scale:g} widths")
    return lines


def best(lines: list[dict], key: str) -> tuple[float, Interval, Interval]:
    """Return the best strength, its measure, and by how much it beats no noise of its own.

    The strength is chosen on every other unit and measured on the rest, so that the best of many is
    not lucky.
    """
    values = np.array([line[key] for line in lines])
    strengths = [line["strength"] for line in lines]
    chosen = int(values[:, ::2].mean(1).argmax())
    rest = values[:, 1::2]
    return strengths[chosen], interval(rest[chosen]), interval(rest[chosen] - rest[0])


def report(lines: list[dict], key: str, what: str) -> str:
    """Return a table in Markdown."""
    body = []
    groups = sorted({(n["operator"], n["draws"], n["amplitude"]) for n in lines})
    for operator, draws, amplitude in groups:
        own = [n for n in lines if (n["operator"], n["draws"], n["amplitude"])
               == (operator, draws, amplitude)]  # fmt: skip
        silent = formatted(interval(np.array(own[0][key])), 2)
        row = [operator, f"{amplitude:g}", str(draws), silent]
        if len(own) > 1:
            strength, value, gain = best(own, key)
            row += [f"{strength:g}", formatted(value, 2), formatted(gain, 2)]
        body.append(row + [""] * (7 - len(row)))
    head = ["operator", "size, widths", "draws", f"{what} without own noise",
            "best strength, widths", what, "gain"]  # fmt: skip
    return table(head, body)


def picture(tone: list[dict], spoken: list[dict], path: Path) -> None:
    """Plot detection and what is kept of speech against the strength of the noise."""
    figure, row = axes(4 if spoken else 2, 16 if spoken else 8.5, 3.6)
    panels = [(tone, "area", "tone detected (area under the ROC)")]
    panels += [(spoken, "kept", "speech kept (squared correlation)")] if spoken else []
    at = 0
    for lines, key, what in panels:
        for operator in OPERATORS:
            axis, sizes = row[at], sorted({n["amplitude"] for n in lines})
            for size, colour in zip(sizes, COLOURS, strict=False):
                for draws, style in zip(DRAWS, ("-", "--"), strict=True):
                    own = [n for n in lines if (n["operator"], n["draws"], n["amplitude"])
                           == (operator, draws, size)]  # fmt: skip
                    strengths = [n["strength"] for n in own]
                    means = [np.mean(n[key]) for n in own]
                    label = f"{size:g} widths" if draws == 1 else None
                    axis.plot(strengths, means, style, color=colour, label=label)
            axis.set(xlabel="strength of own noise, widths", ylabel=what, title=operator)
            if operator == list(OPERATORS)[-1]:
                axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1),
                            title="solid: 1 draw\ndashed: 16", title_fontsize=8)  # fmt: skip
            at += 1
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", help="recordings of speech")
    parser.add_argument("--out", type=Path, default=Path("out/claims/fluctuations"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS, help="with the tone, and without")
    options = parser.parse_args(arguments)
    check_count("seeds", options.seeds, 2)
    check_count("trials", options.trials, 2)
    tone = tones(options.seeds, options.trials)
    spoken = speech(options.files) if options.files else []
    picture(tone, spoken, options.out / "resonance.png")
    text = f"{commit()}, {machine()}\n\n{report(tone, 'area', 'detection')}"
    if spoken:
        text += f"\n{report(spoken, 'kept', 'kept')}"
    (options.out / "resonance.md").write_text(text, "utf-8")
    (options.out / "resonance.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in (*tone, *spoken)), "utf-8"
    )
    print(text)


if __name__ == "__main__":
    main()
