"""Evaluation against plain counting."""

import numpy as np
import pytest
import torch

from shufflenet.data import ArrayDataset
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
