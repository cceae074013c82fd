"""Images on the time axis."""

import base64
import io

import numpy as np
from PIL import Image

from speechasym.report import strips


def pixels(uri: str) -> np.ndarray:
    file = io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))
    return np.asarray(Image.open(file).convert("RGBA"))


def test_strips():
    """Pixels are what they show: right way up, clear where there is nothing."""
    index = np.zeros((3, 2))
    index[0, 0], index[2, 1] = 1.0, -1.0  # low channel rises first, high channel falls last
    image = pixels(strips.asymmetry(index))
    assert image.shape == (2, 3, 4)
    assert tuple(image[1, 0]) == (*strips.RISE, 255)
    assert tuple(image[0, 2]) == (*strips.FALL, 255)
    assert image[..., 3].sum() == 2 * 255
    power = np.array([[1.0, 1e-9]])
    image = pixels(strips.spectrogram(power))
    assert image[1, 0, 3] == 255 and image[0, 0, 3] == 0
