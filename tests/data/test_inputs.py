import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from shufflenet.checkpoints import IMAGENET, Preprocessing
from shufflenet.data import (
    PAPER,
    SMALL_PICTURES,
    ArrayDataset,
    Augmentation,
    PictureInputs,
    augment,
    open_dataset,
    prepare,
)
from shufflenet.data.array_inputs import ArrayInputs
from shufflenet.data.write_shards import write_shards
from shufflenet.errors import UserError

SMALL = replace(IMAGENET, size=(24, 24), short_side=24)


@pytest.fixture
def folder(tmp_path, photo):
    """Twelve JPEGs in two classes, and where they are."""
    for index in range(12):
        path = tmp_path / "ab"[index % 2] / f"{index:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        photo(60, 50, seed=index).save(path, quality=90)
    return tmp_path


def _all(inputs, **options):
    images, labels = zip(*DataLoader(inputs, batch_size=5, **options), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_inputs_are_a_pure_function_of_seed_epoch_and_index(folder):
    def make(seed=3):
        return augment(open_dataset(folder, "train"), SMALL, PAPER, seed=seed)

    torch.manual_seed(1)
    images, labels = _all(make())
    torch.manual_seed(2)  # neither the global generator, nor workers, nor order change anything
    assert torch.equal(_all(make(), num_workers=2)[0], images)
    backwards = make()
    items = {index: backwards[index] for index in reversed(range(12))}
    assert all(torch.equal(items[index][0], images[index]) for index in range(12))
    assert labels.tolist() == [0] * 6 + [1] * 6
    other = make()
    other.set_epoch(1)
    assert not any(torch.equal(first, second) for first, second in zip(_all(other)[0], images, strict=True))
    assert not any(torch.equal(first, second) for first, second in zip(_all(make(seed=4))[0], images, strict=True))


def test_set_epoch_reaches_workers_that_are_running(folder):
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER)
    loader = DataLoader(inputs, batch_size=4, num_workers=2, persistent_workers=True)
    for epoch in (0, 1, 0, 7):
        inputs.set_epoch(epoch)
        images = torch.cat([images for images, _ in loader])
        single = augment(open_dataset(folder, "train"), SMALL, PAPER)
        single.set_epoch(epoch)
        assert torch.equal(images, _all(single)[0])


def test_inputs_leave_the_global_generator_alone(folder):
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    inputs[0]
    assert torch.equal(torch.get_rng_state(), state)


def test_shards_and_the_folder_they_were_made_of_prepare_alike(folder, tmp_path_factory):
    pictures = open_dataset(folder, "test")
    shards = tmp_path_factory.mktemp("shards")
    write_shards(pictures, shards, "test")
    ours = {(image.numpy().tobytes(), int(label)) for image, label in prepare(pictures, SMALL)}
    again, labels = _all(prepare(open_dataset(shards, "test"), SMALL), num_workers=2)
    assert ours == {(image.numpy().tobytes(), int(label)) for image, label in zip(again, labels, strict=True)}


def test_any_torchvision_transform_serves(folder):
    class Decoded(torch.nn.Module):
        def forward(self, image):
            return image.convert("RGB")

    transform = v2.Compose(
        [Decoded(), v2.RandAugment(), v2.RandomCrop(24), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    )
    results = [PictureInputs(open_dataset(folder, "train"), transform, seed=1)[5][0] for _ in range(2)]
    assert torch.equal(*results)


def _break(folder, *numbers):
    for number in numbers:
        path = folder / "ab"[number % 2] / f"{number:02d}.jpg"
        path.write_bytes(path.read_bytes()[:400])


def test_a_broken_picture_is_counted_named_and_replaced(folder, caplog):
    whole = augment(open_dataset(folder, "train"), SMALL, PAPER)
    _break(folder, 4, 11)  # items 2 and 11
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=0.2)
    with caplog.at_level(logging.WARNING):
        results = [inputs[index] for index in range(12)]
    assert inputs.broken() == [2, 11]
    assert [label for _, label in results] == [0] * 6 + [1] * 5 + [0]  # the last one's place is taken by the first
    assert len(caplog.messages) == 2
    assert "a/04.jpg is a broken picture" in caplog.messages[0]
    assert "(2 of 12 are broken)" in caplog.messages[1]
    assert all(torch.equal(results[index][0], whole[index][0]) for index in range(12) if index not in (2, 11))
    # What takes the place is drawn for the place: the same again, whoever found the picture broken.
    assert torch.equal(augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=0.2)[2][0], results[2][0])


def test_too_many_broken_pictures_end_the_run_with_their_names(folder):
    _break(folder, 1, 4, 11)
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=0.2)
    with pytest.raises(
        UserError, match=r"3 of 12 pictures are broken, more than max_broken_share=0\.2 allows"
    ) as error:
        list(map(inputs.__getitem__, range(12)))
    assert all(name in str(error.value) for name in ("b/01.jpg", "a/04.jpg", "b/11.jpg"))


@pytest.mark.parametrize(("share", "ends"), [(0.01, False), (0.0, True)])
def test_one_broken_picture_of_a_few_ends_no_run_that_allows_some(folder, share, ends):
    _break(folder, 4)
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=share)
    with pytest.raises(UserError, match="--set max_broken_share") if ends else nullcontext():
        list(map(inputs.__getitem__, range(12)))


def test_workers_take_note_of_broken_pictures(folder, caplog):
    _break(folder, 1, 4, 11)
    inputs = augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=0.25)
    images, _ = _all(inputs, num_workers=2)
    assert len(images) == 12
    with caplog.at_level(logging.WARNING):
        inputs.check()
        inputs.check()
    assert len(caplog.messages) == 3  # each once
    assert inputs.broken() == [2, 6, 11]
    strict = augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=0.24)
    _all(strict, num_workers=2)
    with pytest.raises(UserError, match="3 of 12 pictures are broken"):
        strict.check()


def test_a_folder_of_nothing_but_broken_pictures_ends(folder):
    _break(folder, *range(12))
    with pytest.raises(UserError, match="none of the 12 pictures can be read"):
        augment(open_dataset(folder, "train"), SMALL, PAPER, max_broken_share=1.0)[0]


def test_evaluation_replaces_nothing(folder):
    _break(folder, 4)
    inputs = prepare(open_dataset(folder, "test"), SMALL)
    inputs[0]
    with pytest.raises(UserError, match=r"1 of 12 pictures are broken.*a/04\.jpg"):
        inputs[2]


GREY = Preprocessing((28, 28), None, (0.2860,), (0.3530,), "grey")


def test_the_fast_way_is_taken_where_it_can_be(folder):
    fashion, files = open_dataset("fashion-mnist-7k", "test"), open_dataset(folder, "test")
    assert isinstance(augment(fashion, GREY, SMALL_PICTURES), ArrayInputs)
    assert isinstance(prepare(fashion, GREY), ArrayInputs)
    assert not isinstance(augment(fashion, GREY, PAPER), ArrayInputs)
    assert not isinstance(prepare(fashion, replace(GREY, short_side=32)), ArrayInputs)
    assert not isinstance(prepare(fashion, IMAGENET), ArrayInputs)
    assert not isinstance(prepare(files, SMALL), ArrayInputs)


@pytest.mark.parametrize("channel_order", ["grey", "RGB", "BGR"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fast_way_prepares_as_the_general_one(channel_order, channels):
    if channel_order == "grey" and channels == 3:
        channels = 1
    images = torch.randint(256, (6, channels, 11, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(
        (11, 9),
        None,
        (0.1, 0.2, 0.3)[: 1 if channel_order == "grey" else 3],
        (0.5,) * (1 if channel_order == "grey" else 3),
        channel_order,
    )
    dataset = ArrayDataset(images, [0] * 6, ("a",), preprocessing)
    fast = prepare(dataset, preprocessing)
    assert isinstance(fast, ArrayInputs)
    from shufflenet.data import evaluation_transform

    general = PictureInputs(dataset, evaluation_transform(preprocessing))
    for index in range(6):
        assert torch.allclose(fast[index][0], general[index][0], atol=1e-6)


def test_batches_hold_the_very_items():
    inputs = augment(open_dataset("fashion-mnist-7k", "train"), GREY, replace(SMALL_PICTURES, erase=0.5), seed=5)
    inputs.set_epoch(3)
    indices = [5, 5999, 0, 17, 5]
    batch = inputs.__getitems__(indices)
    for index, (image, label) in zip(indices, batch, strict=True):
        assert torch.equal(image, inputs[index][0])
        assert label == inputs[index][1] == index % 10
    images, labels = next(iter(DataLoader(inputs, batch_size=7, num_workers=1)))
    assert images.shape == (7, 1, 28, 28)
    assert labels.dtype == torch.int64
    assert torch.equal(images[5], inputs[5][0])


def test_the_fast_way_crops_flips_and_nothing_else():
    pixels = (torch.arange(28 * 28) % 251 + 1).to(torch.uint8).reshape(1, 1, 28, 28)
    dataset = ArrayDataset(pixels.expand(500, -1, -1, -1), [0] * 500, ("a",), GREY)
    plain = Preprocessing((28, 28), None, (0.0,), (1.0,), "grey")
    images = torch.stack(
        [image for image, _ in augment(dataset, plain, SMALL_PICTURES, seed=1).__getitems__(range(500))]
    )
    padded = np.pad(pixels[0, 0].numpy(), 2)
    windows = [padded[top : top + 28, left : left + 28] for top in range(5) for left in range(5)]
    variants = np.stack(windows + [window[:, ::-1] for window in windows])
    matches = ((images * 255).round().numpy()[:, 0, None] == variants[None]).all((2, 3))
    assert (matches.sum(1) == 1).all()
    counts = matches.sum(0)
    assert counts.min() > 0
    assert 200 < counts[:25].sum() < 300  # half are not flipped


def test_the_fast_way_erases_as_much_as_torchvision():
    dataset = ArrayDataset(torch.full((4000, 1, 28, 28), 255, dtype=torch.uint8), [0] * 4000, ("a",), GREY)
    augmentation = Augmentation(padding=0, flip=0.0, color_jitter=0.0, lighting=0.0, erase=0.5)
    inputs = augment(dataset, GREY, augmentation)
    assert isinstance(inputs, ArrayInputs)
    ours = torch.stack([image for image, _ in inputs.__getitems__(range(4000))]) == 0
    torch.manual_seed(0)
    erasing = v2.RandomErasing(0.5)
    theirs = torch.stack([erasing(torch.ones(1, 28, 28)) for _ in range(4000)]) == 0
    assert abs(ours.any((1, 2, 3)).float().mean() - 0.5) < 0.03
    assert abs(ours.float().mean() - theirs.float().mean()) < 0.01
    # The middle is erased more often than the corners are, by as much.
    assert torch.allclose(ours.float().mean(0), theirs.float().mean(0), atol=0.04)
