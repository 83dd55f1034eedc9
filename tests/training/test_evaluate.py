"""Evaluation against plain counting."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shufflenet.data import ArrayDataset
from shufflenet.data.folders import open_class_folders
from shufflenet.errors import UserError
from shufflenet.training import evaluate


@pytest.fixture
def scored(make_net, test_set):
    """A network, and what it says of each test picture, one at a time."""
    net = make_net().train()
    preprocessing = net.metadata.preprocessing
    images = (test_set.images.float() / 255 - preprocessing.mean[0]) / preprocessing.std[0]
    net(images)  # some statistics for BN
    net.eval()
    with torch.no_grad():
        logits = torch.cat([net(image[None]) for image in images])
    return net, logits.numpy(), np.asarray(test_set.labels)


def test_it_counts_what_a_loop_counts(scored, test_set):
    net, logits, labels = scored
    evaluation = evaluate(net, test_set, batch_size=7)
    confusion = np.zeros((10, 10), int)
    top5, mistakes = 0, []
    for index, (row, label) in enumerate(zip(logits, labels, strict=True)):
        confusion[label, row.argmax()] += 1
        top5 += label in np.argsort(row)[-5:]
        if row.argmax() != label:
            mistakes.append((np.exp(row - row.max()).max() / np.exp(row - row.max()).sum(), index))
    assert (evaluation.confusion == confusion).all()
    assert evaluation.pictures == 101
    assert evaluation.top1_error == pytest.approx(100 * (1 - confusion.trace() / 101))
    assert evaluation.top5_error == pytest.approx(100 * (1 - top5 / 101))
    worst = sorted(mistakes, reverse=True)[: len(evaluation.mistakes)]
    assert [mistake.index for mistake in evaluation.mistakes] == [index for _, index in worst]
    assert [mistake.confidence for mistake in evaluation.mistakes] == pytest.approx(
        [sure for sure, _ in worst], abs=1e-5
    )
    figures = evaluation.to_json()["per_class"]
    assert [row["top1_error"] for row in figures] == pytest.approx(
        list(100 - 100 * confusion.diagonal() / confusion.sum(1))
    )


def test_the_batch_size_changes_nothing_and_the_mode_is_left(scored, test_set):
    net = scored[0].train()
    one, other = (evaluate(net, test_set, batch_size=size) for size in (1, 101))
    assert (one.confusion == other.confusion).all()
    assert one.loss == pytest.approx(other.loss)
    assert net.training


def test_classes_are_matched_by_name_not_by_position(scored, test_set):
    net, _, _ = scored
    turned = tuple(reversed(test_set.classes))
    other = ArrayDataset(test_set.images, 9 - np.asarray(test_set.labels), turned, test_set.preprocessing)
    assert (evaluate(net, other).confusion == evaluate(net, test_set).confusion).all()


def test_a_set_with_some_of_the_classes(scored, test_set):
    net, _, _ = scored
    keep = np.asarray(test_set.labels) == 3
    dresses = ArrayDataset(test_set.images[keep], np.zeros(keep.sum(), int), ("dress",), test_set.preprocessing)
    evaluation = evaluate(net, dresses)
    assert evaluation.confusion[3].sum() == evaluation.pictures == keep.sum()
    assert [row["class"] for row in evaluation.to_json()["per_class"]] == ["dress"]


def test_classes_that_do_not_match_are_refused(scored, test_set):
    net, _, _ = scored
    cats = ArrayDataset(test_set.images, test_set.labels, [f"cat {i}" for i in range(10)], test_set.preprocessing)
    with pytest.raises(UserError, match="does not know 10 of the data set's 10 classes"):
        evaluate(net, cats)
    net.metadata = None
    with pytest.raises(UserError, match="does not say what its classes are"):
        evaluate(net, test_set)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_are_named_and_not_counted(scored, test_set, tmp_path, workers, caplog):
    net, _, labels = scored
    for index in range(60):
        folder = tmp_path / f"{labels[index]} {test_set.classes[labels[index]].replace('/', '-')}"
        folder.mkdir(exist_ok=True)
        test_set[index][0].save(folder / f"{index:03d}.png")
    files = open_class_folders(tmp_path)
    files.classes = test_set.classes
    whole = evaluate(net, files)
    for index in (0, 33):
        Path(files.name(index)).write_bytes(b"no picture")
    with caplog.at_level("WARNING"):
        evaluation = evaluate(net, files, batch_size=16, workers=workers, max_broken_share=0.05)
    assert evaluation.broken == (files.name(0), files.name(33))
    assert evaluation.pictures == evaluation.confusion.sum() == 58
    assert whole.confusion.sum() - evaluation.confusion.sum() == 2
    assert evaluation.to_json()["broken_pictures"] == [files.name(0), files.name(33)]
    assert "it is not counted" in caplog.text
    assert "takes its place" not in caplog.text
    with pytest.raises(UserError, match=r"[12] of 60 pictures are broken, more than max_broken_share=0.01 allows"):
        evaluate(net, files, workers=workers)
