"""Augmentation: variants, masks and noise, all by seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch

from speechasym.audio.telephone import by_telephone
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import LogMelFeatures
from speechasym.training.augment import (
    Variant,
    draw_perturbation,
    draw_variant,
    perturb,
    recurring_variants,
    with_noise,
)
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.cut_features import FeatureTask, samples_of

RATE = 16000


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    from lhotse import CutSet, Recording

    path = tmp_path_factory.mktemp("noise") / "n.wav"
    sf.write(path, 0.3 * np.random.default_rng(1).standard_normal(RATE * 5), RATE)
    return CutSet.from_cuts([Recording.from_file(path).to_cut()])


def test_variants_depend_on_seed_cut_and_number_only():
    augment = AugmentConfig(speeds=(0.9, 1.1), noise="x", noise_share=1.0, snr_db=(3, 9))
    drawn = draw_variant(augment, 5, "cut", 1, 7)
    assert drawn == draw_variant(augment, 5, "cut", 1, 7) and 3 <= drawn.snr_db <= 9
    others = [("cut", 2, 7), ("tuc", 1, 7), ("cut", 1, 8)]
    assert all(drawn != draw_variant(augment, 5, *other) for other in others)
    speeds = {draw_variant(augment, 5, "cut", number, 7).speed for number in range(2)}
    assert speeds == {0.9, 1.1}
    recurring = recurring_variants(augment, 5, "cut", 7)
    assert recurring == (Variant(0.9), Variant(1.1))  # noise is drawn again in each epoch
    fixed = AugmentConfig(speeds=(0.9, 1.1), noise="x", noise_share=1.0, copies=3)
    assert recurring_variants(fixed, 5, "cut", 7) == tuple(
        draw_variant(fixed, 5, "cut", number, 7) for number in range(3)
    )


def test_rooms_are_drawn_in_each_epoch(cuts):
    dry = AugmentConfig(speeds=(0.9, 1.1), noise="x", noise_share=0.5)
    augment = replace(dry, room_share=0.5, reverberation_s=(0.2, 0.4), direct_db=(3, 9))
    drawn = [draw_variant(augment, 5, "cut", number, 7) for number in range(200)]
    assert [v._replace(room=None) for v in drawn] == [
        draw_variant(dry, 5, "cut", number, 7) for number in range(200)
    ]
    rooms = [v.room for v in drawn if v.room is not None]
    assert 70 < len(rooms) == len(set(rooms)) < 130
    for _, seconds, direct_db in rooms:
        assert 0.2 <= seconds <= 0.4 and 3 <= direct_db <= 9
    assert recurring_variants(augment, 5, "cut", 7) == (Variant(0.9), Variant(1.1))
    task = FeatureTask(next(iter(cuts)), LogMelFeatures())
    x = samples_of(task)
    y, same = (samples_of(task._replace(variant=Variant(room=(3, 0.3, 6.0)))) for _ in range(2))
    np.testing.assert_array_equal(y, same)
    assert len(x) == len(y) and y.dtype == np.float32
    reverberation = y.astype(float) - x
    ratio = 10 * np.log10(np.mean(x.astype(float) ** 2) / np.mean(reverberation**2))
    assert ratio == pytest.approx(6, abs=1)
    assert abs(reverberation[: round(0.003 * RATE)]).max() < 1e-6  # nothing before 3 ms


def test_telephones_are_drawn_in_each_epoch(cuts):
    wide = AugmentConfig(room_share=0.5)
    augment = replace(wide, telephone_share=0.5)
    drawn = [draw_variant(augment, 0, "cut", number, 7) for number in range(200)]
    assert [v._replace(telephone=None) for v in drawn] == [
        draw_variant(wide, 0, "cut", number, 7) for number in range(200)
    ]
    bands = [v.telephone for v in drawn if v.telephone is not None]
    assert 70 < len(bands) == len(set(bands)) < 130
    assert all(200 <= low <= 400 and 3000 <= high <= 3800 for low, high in bands)
    assert augment.fresh and not AugmentConfig().fresh and not replace(augment, copies=2).fresh
    task = FeatureTask(next(iter(cuts)), LogMelFeatures(), Variant(telephone=(300.0, 3400.0)))
    expected = by_telephone(samples_of(task._replace(variant=Variant())), RATE)
    np.testing.assert_array_equal(samples_of(task), expected.astype(np.float32))


def perturbed(x, augment, rate, seed):
    return perturb(x, draw_perturbation(*x.shape, augment, rate, seed))


def test_masks_gain_and_shift():
    x = torch.ones(50, 20)
    augment = AugmentConfig(time_masks=1, time_mask_s=0.2, column_masks=1, column_mask_share=0.3)
    widths = set()
    for seed in range(200):
        y = perturbed(x, augment, 100, seed)
        assert torch.equal(y, perturbed(x, augment, 100, seed))
        rows, columns = (y == 0).all(1), (y == 0).all(0)
        assert torch.equal(y == 0, rows[:, None] | columns)
        assert (rows.diff() != 0).sum() <= 2 and (columns.diff() != 0).sum() <= 2
        widths.add((int(rows.sum()), int(columns.sum())))
    assert {w for w, _ in widths} == set(range(21)) and {w for _, w in widths} == set(range(7))
    assert (x == 1).all()  # the kept features stay
    y = perturbed(x, AugmentConfig(shift=0.5), 100, 1)
    assert (y == y[0]).all() and 0.2 < float(y[0].std()) < 0.8
    y = perturbed(x, AugmentConfig(shift=0.5, jitter=0.1), 100, 1) - y
    assert float(y.mean()) == pytest.approx(0, abs=0.01) and 0.09 < float(y.std()) < 0.11
    assert draw_perturbation(50, 20, AugmentConfig(), 100, 1) is None


def test_noise_at_its_ratio(cuts, noise):
    mixed = with_noise(cuts, noise, 10.0, seed=0)
    again = with_noise(cuts, noise, 10.0, seed=0)
    other = with_noise(cuts, noise, 10.0, seed=1)
    assert list(mixed.ids) == list(cuts.ids)
    for clean, noisy, same in zip(cuts, mixed, again, strict=True):
        assert noisy.duration == clean.duration
        assert noisy.supervisions[0].speaker == clean.supervisions[0].speaker
        x, y = clean.load_audio(), noisy.load_audio()
        np.testing.assert_array_equal(y, same.load_audio())
        assert y.shape == x.shape
        ratio = 10 * math.log10(np.mean(x**2) / np.mean((y - x)[:, : -RATE // 10] ** 2))
        assert ratio == pytest.approx(10, abs=0.5)
    assert any(
        not np.array_equal(a.load_audio(), b.load_audio())
        for a, b in zip(mixed, other, strict=True)
    )


def test_noise_at_ratios_of_a_range(cuts, noise):
    ratios = [
        track.snr
        for cut in with_noise(cuts, noise, (0, 20), seed=0)
        for track in cut.tracks
        if track.snr is not None
    ]
    assert len(ratios) == 12 and 0 <= min(ratios) < 8 and 12 < max(ratios) <= 20


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c, n: with_noise(c, n, math.inf, 0), "snr"),
        (lambda c, n: with_noise(c, n, (20, 0), 0), "snr"),
        (lambda c, n: with_noise(c, n.subset(cut_ids=[]), 10, 0), "must not be empty"),
        (lambda c, n: with_noise(c, n.resample(8000), 10, 0), r"resample\(16000\)"),
    ],
)
def test_bad_values(cuts, noise, call, match):
    with pytest.raises(ConfigError, match=match):
        call(cuts, noise)
