"""What a page shows, read back, and what Python says of the same pictures."""

import pytest

from shufflenet.data.predict import predict
from shufflenet.detection.predict import predict as find


def cards(page):
    """Each card's title, and the class, share and box (or none) of its rows; the newest card first."""
    return page.eval_on_selector_all(
        "article",
        """cards => cards.map(card => [card.querySelector("h2").textContent,
           [...card.querySelectorAll("li[data-index]")].map(({dataset}) =>
             [Number(dataset.index), Number(dataset.probability), dataset.box?.split(",").map(Number)])])""",
    )


def assert_same_classes(found, net, files):
    """The classes of `predict` in its order, and its probabilities, within 1e-3; the cards' order is the files'."""
    wanted = predict(net, net.metadata, files, top=len(net.metadata.classes))
    for (_, rows), prediction in zip(found, wanted, strict=True):
        probability = {entry.index: entry.probability for entry in prediction.classes}
        assert rows[0][0] == prediction.classes[0].index
        shares = [share for _, share, _ in rows]
        assert shares == pytest.approx([entry.probability for entry in prediction.classes[:5]], abs=1e-3)
        assert shares == pytest.approx([probability[index] for index, _, _ in rows], abs=1e-3)


def assert_same_boxes(found, detector, files, threshold):
    """The objects of `detect predict`: classes, scores within 1e-3, corners within half a pixel. Scores as close may change places."""
    for (_, rows), file in zip(found, files, strict=True):
        more = find(detector, file, threshold=threshold - 1e-3).detections
        fewer = [one for one in more if one.score >= threshold + 1e-3]
        assert len(fewer) <= len(rows) <= len(more)
        assert sorted((share for _, share, _ in rows), reverse=True) == [share for _, share, _ in rows]
        for one in fewer:
            assert any(_same_box(row, one) for row in rows), one


def _same_box(row, one):
    index, score, (x1, y1, x2, y2) = row
    same_place = (x1, y1, x2 - x1, y2 - y1) == pytest.approx(one.box, abs=0.5)
    return index + 1 == one.category_id and score == pytest.approx(one.score, abs=1e-3) and same_place
