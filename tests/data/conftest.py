"""Pictures to test with: made here, so that every machine has the same."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """photo(width, height, seed): colours with the 1/f spectrum of photographs, so that JPEG sees what it is made for."""

    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        random = np.random.default_rng(seed)
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        frequency[0, 0] = 1.0
        spectrum = random.normal(size=(3, *frequency.shape)) + 1j * random.normal(size=(3, *frequency.shape))
        spectrum[1:] = spectrum[:1] + 0.4 * spectrum[1:]  # the colours of a photograph go together
        values = np.fft.irfft2(spectrum / frequency, s=(height, width))
        values = 128 + 50 * (values - values.mean()) / values.std()
        return Image.fromarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))

    return make


@pytest.fixture
def write_pictures(photo: Callable[..., Image.Image]) -> Callable[[Path, Mapping[str, str]], None]:
    """write_pictures(root, {"cat/a.jpg": "red"}): a small picture of one colour at each of the paths."""

    def write(root: Path, colors: Mapping[str, str]) -> None:
        for path, color in colors.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), color).save(root / path)

    return write
