import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from shufflenet.checkpoints import GREY, IMAGENET, Preprocessing
from shufflenet.data.pictures import open_picture
from shufflenet.data.transforms import (
    PAPER,
    PAPER_SMALL_NET,
    SMALL_PICTURES,
    Augmentation,
    ColorsAndNormalization,
    RandomCrop,
    evaluation_transform,
    training_transform,
)
from shufflenet.errors import UserError

PLAIN = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
EIGENVALUES = torch.tensor([0.2175, 0.0188, 0.0045])
EIGENVECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


@pytest.mark.parametrize(("width", "height"), [(500, 375), (301, 640), (256, 256), (60, 50)])
def test_evaluation_is_the_centre_crop_of_a_short_side_of_256(width, height, photo):
    picture = photo(width, height)
    scaled = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    pixels = np.asarray(picture.resize(scaled, Image.Resampling.BILINEAR)).astype(np.float32) / 255
    top, left = round((scaled[1] - 224) / 2), round((scaled[0] - 224) / 2)
    crop = pixels[top : top + 224, left : left + 224]
    expected = (crop - IMAGENET.mean) / IMAGENET.std
    result = evaluation_transform(IMAGENET)(picture).numpy()
    assert result.dtype == np.float32
    assert np.abs(result - expected.transpose(2, 0, 1)).max() < 1e-5


def test_evaluation_without_short_side_resizes_to_the_size(photo):
    picture = photo(90, 40)
    preprocessing = replace(PLAIN, size=(20, 30), short_side=None, interpolation="bicubic")
    expected = np.asarray(picture.resize((30, 20), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
    assert np.abs(evaluation_transform(preprocessing)(picture).numpy() - expected).max() < 1e-6


def test_channel_orders(photo):
    picture = photo(64, 64)
    small = replace(IMAGENET, size=(32, 32), short_side=32)
    rgb = evaluation_transform(small)(picture)
    reversed_ = replace(small, channel_order="BGR", mean=small.mean[::-1], std=small.std[::-1])
    assert torch.allclose(evaluation_transform(reversed_)(picture), rgb.flip(0), atol=1e-6)
    grey = evaluation_transform(replace(GREY, size=(64, 64), short_side=64))(picture)
    expected = np.asarray(picture.convert("L")) / 255
    assert np.abs(grey.numpy()[0] * GREY.std[0] + GREY.mean[0] - expected).max() < 1e-6
    with pytest.raises(UserError, match="not a picture's"):
        evaluation_transform(replace(small, channel_order="other"))


def test_bgr_from_0_to_255_without_normalisation(photo):
    """Megvii's checkpoints (converters/megvii.py)."""
    megvii = Preprocessing((32, 32), 32, (0.0,) * 3, (1 / 255,) * 3, "BGR")
    picture = photo(32, 32)
    expected = np.asarray(picture)[:, :, ::-1].transpose(2, 0, 1)
    assert np.abs(evaluation_transform(megvii)(picture).numpy() - expected).max() < 1e-3


def _reference_colors(pixels, jitter, lighting):
    """fb.resnet.torch's steps, one after the other by torchvision's functions, with the draws that our module takes."""
    image = pixels[None] / 255
    if jitter:
        brightness, contrast, saturation = (1 + (2 * torch.rand(3) - 1) * jitter).tolist()
        steps = [
            lambda x: functional.adjust_brightness(x, brightness),
            lambda x: functional.adjust_contrast(x, contrast),
            lambda x: functional.adjust_saturation(x, saturation),
        ]
        for step in torch.randperm(3).tolist():
            image = steps[step](image)
    if lighting:
        image = image + (EIGENVECTORS @ (torch.randn(3) * lighting * EIGENVALUES))[:, None, None]
    return image[0]


@pytest.mark.parametrize(("jitter", "lighting"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.1), (0.2, 0.1)])
def test_colors_are_one_affine_map(jitter, lighting):
    # Greyish colours, which stay between 0 and 1 at every step, so that torchvision's clamping changes nothing.
    pixels = torch.randint(100, 150, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    module = ColorsAndNormalization(PLAIN, Augmentation(color_jitter=jitter, lighting=lighting))
    for seed in range(30):
        torch.manual_seed(seed)
        result = module(pixels)
        torch.manual_seed(seed)
        # torchvision's luma is rounded to four digits (0.2989, 0.587, 0.114), ours is BT.601's.
        assert torch.allclose(result, _reference_colors(pixels, jitter, lighting), atol=5e-4)


def test_colors_of_grey_pictures():
    module = ColorsAndNormalization(replace(GREY, mean=(0.0,), std=(1.0,)), Augmentation())
    pixels = torch.randint(256, (1, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    values = torch.stack([module(pixels).flatten() for _ in range(200)])
    # Still an affine map of the grey, and saturation has nothing to say: slope = brightness × contrast, within 0.6² to 1.4².
    slopes = (values[:, 1] - values[:, 0]) / (pixels.flatten()[1].item() - pixels.flatten()[0].item()) * 255
    assert slopes.min() > 0.36
    assert slopes.max() < 1.96
    assert slopes.std() > 0.1


@pytest.mark.parametrize("augmentation", [PAPER, PAPER_SMALL_NET])
def test_crops_keep_the_areas_and_aspects_asked_for(augmentation):
    crop = RandomCrop(IMAGENET, augmentation)
    image = Image.new("RGB", (500, 375))
    params = [crop.box.make_params([image]) for _ in range(300)]
    heights = np.array([param["height"] for param in params])
    widths = np.array([param["width"] for param in params])
    areas, aspects = heights * widths / (500 * 375), widths / heights
    assert augmentation.area[0] - 0.01 < areas.min() < augmentation.area[0] + 0.1
    assert areas.max() > 0.85
    assert aspects.min() > 0.73
    assert aspects.max() < 1.36
    assert all(p["top"] + p["height"] <= 375 and p["left"] + p["width"] <= 500 for p in params)


def test_a_crop_shows_a_part_of_the_picture():
    """Pixels that tell their place: whatever crop is drawn, they must rise evenly over just that part."""
    ramp = np.add.outer(np.zeros(200), np.arange(256))[:, :200].astype(np.uint8)
    picture = Image.fromarray(np.stack([ramp, ramp.T, ramp * 0], axis=-1))
    preprocessing = replace(PLAIN, size=(50, 50), short_side=50)
    transform = training_transform(preprocessing, replace(PAPER, color_jitter=0.0, lighting=0.0))
    flipped = set()
    for seed in range(40):
        torch.manual_seed(seed)
        x, y, _ = transform(picture) * 255
        rise = (x[0, -1] - x[0, 0]).item()
        flipped.add(rise < 0)
        assert torch.allclose(x, x[:1].expand_as(x), atol=1.01)
        assert torch.allclose(y, y[:, :1].expand_as(y), atol=1.01)
        share = abs(rise) / 49 * 50 * (y[-1, 0] - y[0, 0]).item() / 49 * 50 / 200**2
        assert 0.06 < share <= 1.05
    assert flipped == {True, False}


def test_padding_in_place_of_scaling():
    pixels = np.arange(1, 28 * 28 + 1).reshape(28, 28) % 251 + 1
    picture = Image.fromarray(pixels.astype(np.uint8))
    preprocessing = Preprocessing((28, 28), None, (0.0,), (1.0,), "grey")
    transform = training_transform(preprocessing, replace(SMALL_PICTURES, flip=0.0))
    padded = np.pad(pixels, 2)
    seen = set()
    for seed in range(200):
        torch.manual_seed(seed)
        result = (transform(picture)[0].numpy() * 255).round()
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if (padded[top : top + 28, left : left + 28] == result).all()
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 25


def test_erasing_sets_a_rectangle_to_the_mean():
    transform = training_transform(
        replace(IMAGENET, size=(32, 32), short_side=32), Augmentation(color_jitter=0, lighting=0, erase=1.0)
    )
    result = transform(Image.new("RGB", (40, 40), "white"))
    erased = (result == 0).all(0)
    assert 0.01 < erased.float().mean() < 0.4
    rows, columns = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
    assert erased.sum() == len(rows) * len(columns)


def test_training_reads_jpegs_that_are_not_decoded_yet(photo):
    buffer = io.BytesIO()
    photo(500, 375).save(buffer, "JPEG")
    result = training_transform(IMAGENET, PAPER)(open_picture(buffer.getvalue()))
    assert result.shape == (3, 224, 224)
    assert result.dtype == torch.float32


@pytest.mark.parametrize(
    "fields",
    [
        {"area": (0.0, 1.0)},
        {"area": (0.5, 0.4)},
        {"flip": 1.5},
        {"color_jitter": -0.1},
        {"aspect": (2.0, 1.0)},
        {"padding": -1},
    ],
)
def test_impossible_augmentations_are_refused(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        Augmentation(**fields)


def test_lanczos_crops_are_refused_in_training():
    with pytest.raises(UserError, match="lanczos"):
        training_transform(replace(IMAGENET, interpolation="lanczos"), PAPER)
