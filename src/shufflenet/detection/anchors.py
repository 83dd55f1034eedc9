"""A one-stage detector's anchors: chosen from the boxes of the training data, and laid over the maps."""

from collections.abc import Sequence

import numpy as np

from shufflenet.detection.coco import Annotations, Picture
from shufflenet.detection.config import STRIDES, OneStageConfig
from shufflenet.errors import UserError

Anchors = tuple[tuple[tuple[float, float], ...], ...]

ANCHORS_PER_LEVEL = 3
# A level's boxes have sides (the root of the area) from 2·√2 to 4·√2 times its stride, as in the FPN's paper: 32 pixels at stride 8.
SMALLEST_SIDE_IN_STRIDES = 2 * 2**0.5
SMALLEST_SHARE = 0.01  # of all boxes; a level with fewer is left out


def resized_size(size: tuple[int, int], target: tuple[int, int], letterbox: bool) -> tuple[int, int]:
    """The height and width that a picture of `size` is resized to, in whole-number arithmetic."""
    if not letterbox:
        return target
    (height, width), (most_height, most_width) = size, target
    return max(1, min(most_height, height * most_width // width)), max(
        1, min(most_width, width * most_height // height)
    )


def _box_sizes(picture: Picture, size: tuple[int, int], letterbox: bool) -> np.ndarray:
    """Width and height of a picture's usable boxes after it is resized: float64 [k, 2]."""
    corners = picture.corners()[picture.usable()]
    height, width = resized_size((picture.height, picture.width), size, letterbox)
    return (corners[:, 2:] - corners[:, :2]) * (width / picture.width, height / picture.height)


def _overlaps(boxes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [n, 2] and [k, 2] that share their middle: [n, k]."""
    common = np.minimum(boxes[:, None], centres).prod(-1)
    return common / (boxes.prod(-1)[:, None] + centres.prod(-1) - common)


def cluster(boxes: np.ndarray, count: int) -> np.ndarray:
    """`count` sizes that stand for boxes [n, 2] (width, height): k-means by overlap (arXiv 1612.08242, section 2), smallest first.

    It begins from quantiles of the area, so the same boxes give the same sizes.
    """
    by_area = boxes[np.argsort(boxes.prod(1), kind="stable")]
    centres = by_area[((np.arange(count) + 0.5) / count * len(boxes)).astype(int)]
    for _ in range(100):
        nearest = _overlaps(boxes, centres).argmax(1)
        moved = np.array(
            [
                np.median(boxes[nearest == i], axis=0) if (nearest == i).any() else centre
                for i, centre in enumerate(centres)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(1), kind="stable")]


def choose_anchors(
    annotations: Annotations,
    size: tuple[int, int],
    *,
    letterbox: bool = False,
    strides: Sequence[int] = STRIDES,
    per_level: int = ANCHORS_PER_LEVEL,
) -> tuple[tuple[int, ...], Anchors]:
    """The strides that the boxes of a data set call for, and the anchors of each: `per_level` (width, height) pairs.

    Boxes go to the level of their size, and each level's are clustered. Levels that almost no box belongs to are left out. Raises
    UserError for annotations without a box.
    """
    parts = [_box_sizes(picture, size, letterbox) for picture in annotations.pictures]
    boxes = np.concatenate(parts) if parts else np.zeros((0, 2))
    boxes = boxes[(boxes > 0).all(1)]
    if not len(boxes):
        raise UserError(f"{annotations.path} has no object to learn from, so no anchors can be chosen")
    sides = np.sqrt(boxes.prod(1)) / SMALLEST_SIDE_IN_STRIDES
    wanted = np.searchsorted(np.array(strides), sides, side="right") - 1
    wanted = wanted.clip(0, len(strides) - 1)
    shares = np.bincount(wanted, minlength=len(strides)) / len(boxes)
    kept = np.flatnonzero(shares >= min(SMALLEST_SHARE, shares.max()))
    nearest = kept[np.abs(wanted[:, None] - kept).argmin(1)]
    anchors = []
    for level in kept.tolist():
        own = boxes[nearest == level]
        clusters = cluster(own, min(per_level, len(np.unique(own, axis=0))))
        anchors.append(tuple((round(float(width), 1), round(float(height), 1)) for width, height in clusters))
    return tuple(strides[level] for level in kept.tolist()), tuple(anchors)


def anchor_grid(config: OneStageConfig) -> np.ndarray:
    """Every anchor as x1, y1, x2, y2 in pixels of the resized picture, float32 [n, 4]: by level, row, column, anchor."""
    levels = []
    for stride, (rows, columns), anchors in zip(config.strides, config.grids, config.anchors, strict=True):
        y, x = np.mgrid[:rows, :columns]
        middles = (np.stack((x, y), axis=-1) + 0.5) * stride
        half = np.array(anchors) / 2
        corners = np.concatenate((middles[:, :, None] - half, middles[:, :, None] + half), axis=-1)
        levels.append(corners.reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)
