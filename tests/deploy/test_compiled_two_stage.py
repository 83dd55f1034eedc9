"""Faster R-CNN in one C file finds what torchvision's finds: its kernels on numbers at random, and whole detectors."""

import ctypes
import json
import subprocess
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, ImageList, RegionProposalNetwork
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, nms
from torchvision.ops.poolers import initLevelMapper

from shufflenet.compiler.c.boxes import at_most
from shufflenet.compiler.c.emit import _kernel
from shufflenet.compiler.c.two_stage import AT_ONCE, KEPT_ROWS, SIDE_BY_SIDE, least_areas, with_boxes
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.run.detector import BOX
from shufflenet.deploy.detector import (
    compile_detector,
    compile_detector_source,
    compiled_finder,
    export_heads,
    region_decoder,
)
from shufflenet.detection import Category, build_detector, detector_config
from shufflenet.errors import UserError

from .boxes import MACHINES, STRICT, assert_alike, assert_same, find_on, torch_boxes

STRIDES = (8, 16, 32, 64)


class Level(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("rows", "columns", "anchors", "down", "across")),
        *((name, ctypes.c_void_p) for name in ("sizes", "logits", "offsets")),
    )


class Map(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("rows", "columns")),
        *((name, ctypes.c_float) for name in ("scale", "area")),
        *((name, ctypes.c_void_p) for name in ("planes", "channels_last")),
    )


COUNTS = (
    "levels", "maps", "channels", "depth", "pool", "classes", "candidates", "proposals", "most", "regions",
)  # fmt: skip


class Parameters(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in COUNTS),
        *((name, ctypes.c_float) for name in ("proposal_nms_threshold", "nms_threshold", "score_threshold")),
        ("level", Level * 8),
        ("map", Map * 8),
    )


WRAPPERS = """
int propose_regions(const struct detector *d, int h, int w, uint64_t *keys, float *numbers, int room) {
  struct kept regions = none_yet(numbers, room);
  propose(d, h, w, keys, &regions);
  return regions.count;
}
void align(const struct detector *d, float *numbers, int room, int count, int first, float *means, float *planes) {
  const struct kept regions = {count, room, numbers};
  put_channels_last(d);
  align_regions(d, &regions, first, means, planes);
}
int find(const struct detector *d, float *numbers, int room, int count, float *logits, float *offsets, int h, int w, int fh, int fw,
         uint64_t *keys, float *kept_numbers, int kept_room, box *boxes, int most) {
  const struct kept regions = {count, room, numbers};
  struct kept kept = none_yet(kept_numbers, kept_room);
  return find_objects(d, &regions, logits, offsets, h, w, fh, fw, keys, &kept, boxes, most);
}
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """two_stage.c alone, with parameters of any detector."""
    folder = tmp_path_factory.mktemp("two_stage")
    text = "\n".join(
        (
            "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>",
            "typedef struct { float x1, y1, x2, y2, score; int32_t label; } box;\n#define BOX box",
            *map(_kernel, ("vectors", "activation", "boxes", "two_stage")),
            WRAPPERS,
        )
    )
    (folder / "two_stage.c").write_text(text)
    subprocess.run(
        ["gcc", *STRICT, "-O2", "-march=native", "-fPIC", "-shared", "two_stage.c", "-o", "two_stage.so"],
        cwd=folder,
        check=True,
    )
    return ctypes.CDLL(str(folder / "two_stage.so"))


class Exact:
    """Arrays for C, each followed by numbers that must stay as they are."""

    def __init__(self):
        self._guarded = []

    def array(self, values) -> np.ndarray:
        values = np.ascontiguousarray(values)
        guarded = np.full(values.nbytes + 256, 0xA5, np.uint8)
        own = guarded[: values.nbytes].view(values.dtype).reshape(values.shape)
        own[...] = values
        self._guarded.append((guarded, values.nbytes))
        return own

    def check(self):
        assert all((guarded[size:] == 0xA5).all() for guarded, size in self._guarded)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Random:
    """Numbers as the networks of a Faster R-CNN would give them for one picture, and what C and torchvision make of them."""

    def __init__(self, seed, **fields):
        random = self.random = np.random.default_rng(seed)
        self.canvas = tuple((32 * random.integers(1, 6, 2)).tolist())
        self.size = tuple(int(random.integers(max(1, side - 31), side + 1)) for side in self.canvas)
        self.picture = tuple(random.integers(1, 700, 2).tolist())
        self.grids = [(-(-self.canvas[0] // s), -(-self.canvas[1] // s)) for s in STRIDES]
        self.ratios = (0.5, 1.0, 2.0)[: int(random.integers(1, 4))]
        self.scale = random.uniform(0.5, 5)
        values = {
            "channels": int(random.integers(1, 40)),
            "pool": int(random.choice([1, 3, 7])),
            "classes": int(random.integers(2, 6)),
            "candidates": int(random.choice([5, 60, 400])),
            "proposals": int(random.choice([3, 30, 100])),
            "most": int(random.choice([3, 100])),
            "proposal_nms_threshold": float(random.choice([0.3, 0.7])),
            "nms_threshold": float(random.choice([0.3, 0.5])),
            "score_threshold": float(random.choice([0.0, 0.05, 0.3])),
            "regions": int(random.choice([16, 48])),
            **fields,
        }
        for name, value in values.items():
            setattr(self, name, value)
        sizes = tuple((int(random.integers(8, 40)), 2 * stride) for stride in STRIDES)
        self.generator = AnchorGenerator(sizes, (self.ratios,) * len(STRIDES))
        self.anchors = [(2 * cell[:, 2:]).numpy() for cell in self.generator.cell_anchors]
        # [anchors, rows, columns] and [4 · anchors, rows, columns] of each level
        self.logits = [
            self.normal(len(a), *grid, by=self.scale) for a, grid in zip(self.anchors, self.grids, strict=True)
        ]
        self.offsets = [
            self.normal(4 * len(a), *grid, by=0.5) for a, grid in zip(self.anchors, self.grids, strict=True)
        ]
        self.maps = [self.normal(self.channels, *grid) for grid in self.grids[:-1]]

    def normal(self, *shape, by=1.0):
        return self.random.normal(0, by, shape).astype(np.float32)

    def parameters(self, exact):
        depth = -(-self.channels // 16) * 16
        made = Parameters(
            len(STRIDES), len(self.maps), self.channels, depth, *(getattr(self, name) for name in COUNTS[4:])
        )
        made.proposal_nms_threshold = at_most(self.proposal_nms_threshold)
        made.nms_threshold, made.score_threshold = at_most(self.nms_threshold), self.score_threshold
        levels = zip(self.grids, self.anchors, self.logits, self.offsets, strict=True)
        for i, ((rows, columns), *arrays) in enumerate(levels):
            step = (self.canvas[0] // rows, self.canvas[1] // columns)
            pointers = (exact.array(array).ctypes.data for array in arrays)
            made.level[i] = Level(rows, columns, len(arrays[0]), *step, *pointers)
        for i, (planes, stride, area) in enumerate(zip(self.maps, STRIDES, least_areas(STRIDES[:-1]), strict=False)):
            _, rows, columns = planes.shape
            channels_last = exact.array(np.full((rows, columns, depth), np.nan, np.float32))
            made.map[i] = Map(
                rows, columns, 1 / stride, area, exact.array(planes).ctypes.data, channels_last.ctypes.data
            )
        return made

    # What torchvision makes of them.

    def proposed(self) -> torch.Tensor:
        rpn = RegionProposalNetwork(
            self.generator, torch.nn.Identity(), 0.7, 0.3, 256, 0.5, {"testing": self.candidates},
            {"testing": self.proposals}, self.proposal_nms_threshold,
        ).eval()  # fmt: skip
        images = ImageList(torch.zeros(1, 3, *self.canvas), [self.size])
        (anchors,) = self.generator(images, [torch.zeros(1, 1, *grid) for grid in self.grids])
        counts = [logits.size for logits in self.logits]
        logits = np.concatenate([x.transpose(1, 2, 0).reshape(-1) for x in self.logits])
        offsets = np.concatenate(
            [x.reshape(-1, 4, *x.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4) for x in self.offsets]
        )
        boxes = rpn.box_coder.decode(torch.from_numpy(offsets), [anchors]).reshape(1, -1, 4)
        found, _ = rpn.filter_proposals(boxes, torch.from_numpy(logits), [self.size], counts)
        return found[0]

    def aligned(self, regions: torch.Tensor) -> torch.Tensor:
        align = MultiScaleRoIAlign(["0", "1", "2"], self.pool, 2)
        align.scales, align.map_levels = [1 / stride for stride in STRIDES[:-1]], initLevelMapper(3, 5)
        maps = {str(i): torch.from_numpy(planes)[None] for i, planes in enumerate(self.maps)}
        return align(maps, [regions], [self.size])

    def objects(self, regions: torch.Tensor, logits: np.ndarray, offsets: np.ndarray) -> dict[str, torch.Tensor]:
        heads = SimpleNamespace(
            box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)), score_thresh=self.score_threshold,
            nms_thresh=self.nms_threshold, detections_per_img=self.most,
        )  # fmt: skip
        boxes, scores, labels = RoIHeads.postprocess_detections(
            heads, torch.from_numpy(logits), torch.from_numpy(offsets), [regions], [self.size]
        )
        return {"boxes": resize_boxes(boxes[0], self.size, self.picture), "scores": scores[0], "labels": labels[0]}


def rounded(count, to):
    return -(-count // to) * to


def propose(kernels, r):
    """Regions as C has them, [n, 4], and all of their rows."""
    exact = Exact()
    room = rounded(r.proposals, AT_ONCE)
    numbers = exact.array(np.full((KEPT_ROWS, room), np.nan, np.float32))
    keys = exact.array(np.zeros(sum(x.size for x in r.logits), np.uint64))
    found = kernels.propose_regions(ctypes.byref(r.parameters(exact)), *r.size, pointer(keys), pointer(numbers), room)
    exact.check()
    return numbers[:4, :found].T, numbers


def align(kernels, r, numbers, count):
    """Features of all regions, [n, channels, pool, pool]."""
    exact = Exact()
    made, parts = r.parameters(exact), []
    means = exact.array(np.zeros((SIDE_BY_SIDE, made.depth), np.float32))
    numbers = exact.array(numbers)
    for first in range(0, count, r.regions):
        planes = exact.array(np.full((r.pool, r.pool, r.channels, r.regions), np.nan, np.float32))
        kernels.align(
            ctypes.byref(made), pointer(numbers), numbers.shape[1], count, first, pointer(means), pointer(planes)
        )
        assert not np.isnan(planes).any()
        parts.append(planes.transpose(3, 2, 0, 1))
    exact.check()
    return np.concatenate(parts)[:count]


def find(kernels, r, numbers, count, logits, offsets, max_boxes=1000):
    """Boxes of regions whose logits are [n, classes] and offsets [n, 4 · classes]."""
    exact = Exact()
    runs = rounded(count, r.regions) // r.regions
    rows = []
    for array in (logits, offsets):
        padded = np.zeros((runs * r.regions, array.shape[1]), np.float32)
        padded[:count] = array
        rows.append(exact.array(padded.reshape(runs, r.regions, array.shape[1]).transpose(0, 2, 1)))
    room = rounded(r.most, AT_ONCE)
    numbers = exact.array(numbers)
    keys = exact.array(np.zeros(max(1, count * (r.classes - 1)), np.uint64))
    kept = exact.array(np.zeros((KEPT_ROWS, room), np.float32))
    boxes = exact.array(np.zeros(min(r.most, max_boxes), BOX))
    found = kernels.find(
        ctypes.byref(r.parameters(exact)), pointer(numbers), numbers.shape[1], count, *map(pointer, rows), *r.size,
        *r.picture, pointer(keys), pointer(kept), room, pointer(boxes), max_boxes,
    )  # fmt: skip
    exact.check()
    return boxes[:found]


def random_head(r, count):
    logits = r.normal(count, r.classes, by=r.random.uniform(0.5, 4))
    return logits, r.normal(count, 4 * r.classes, by=2.0)


@pytest.mark.parametrize("seed", range(120))
def test_random_networks_give_torchvisions_boxes(kernels, seed):
    r = Random(seed)
    ours, numbers = propose(kernels, r)
    theirs = r.proposed()
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3)
    features = align(kernels, r, numbers, len(ours))
    np.testing.assert_allclose(features, r.aligned(theirs).numpy(), atol=1e-3)
    logits, offsets = random_head(r, len(ours))
    assert_same(find(kernels, r, numbers, len(ours), logits, offsets), r.objects(theirs, logits, offsets))


class TestSpecialNumbers:
    def test_a_nan_is_no_proposal(self, kernels):
        for candidates in (10, 400):  # fewer than there are NaNs, and more
            r = Random(1, candidates=candidates, proposals=100)
            for logits in r.logits:
                logits.reshape(-1)[::5] = np.nan
            ours, _ = propose(kernels, r)
            theirs = r.proposed().numpy()
            assert len(ours) == len(theirs)
            np.testing.assert_allclose(ours, theirs, atol=1e-3)

    def test_nothing_but_nan(self, kernels):
        r = Random(2)
        for logits in r.logits:
            logits[...] = np.nan
        ours, numbers = propose(kernels, r)
        assert len(ours) == 0 == len(r.proposed())
        assert len(find(kernels, r, numbers, 0, *random_head(r, 0))) == 0

    def test_offsets_that_are_no_numbers_or_without_end(self, kernels):
        r = Random(3, proposals=100)
        for offsets, value in zip(r.offsets, (np.nan, np.inf, -np.inf, 1e30), strict=True):
            offsets.reshape(-1)[::7] = value
        ours, _ = propose(kernels, r)
        np.testing.assert_allclose(ours, r.proposed().numpy(), atol=1e-3)

    def test_logits_without_end_and_certain_ones(self, kernels):
        r = Random(4, proposals=100)
        for logits, value in zip(r.logits, (np.inf, -np.inf, 90.0, 88.0), strict=True):
            logits.reshape(-1)[::3] = value
        ours, _ = propose(kernels, r)
        theirs = r.proposed().numpy()
        assert len(ours) == len(theirs)
        # torch's top-k leaves the order of equal numbers open.
        assert {tuple(np.round(box)) for box in ours} <= {tuple(np.round(box)) for box in theirs} or len(ours) == 100

    def test_equal_logits_go_by_level_and_index(self, kernels):
        r = Random(5, proposals=3, candidates=400)
        for logits, offsets in zip(r.logits, r.offsets, strict=True):
            logits[...], offsets[...] = 1, 0
        ours, numbers = propose(kernels, r)
        assert (numbers[5, : len(ours)] == 1).all()  # the finest level first
        (every,) = r.generator(
            ImageList(torch.zeros(1, 3, *r.canvas), [r.size]), [torch.zeros(1, 1, *g) for g in r.grids]
        )
        finest = clip_boxes_to_image(every[: r.logits[0].size], r.size)
        order = nms(finest, -torch.arange(len(finest), dtype=torch.float32), r.proposal_nms_threshold)
        np.testing.assert_allclose(ours, finest[order[:3]].numpy(), atol=1e-3)

    def test_nan_logits_of_regions_are_no_objects(self, kernels):
        r = Random(6, proposals=100, classes=3, score_threshold=0.05)
        regions, numbers = propose(kernels, r)
        logits, offsets = random_head(r, len(regions))
        logits[::2, 1] = np.nan
        offsets[1::4] = np.nan
        ours = find(kernels, r, numbers, len(regions), logits, offsets)
        assert_same(ours, r.objects(torch.from_numpy(regions.copy()), logits, offsets))
        assert not np.isnan(ours["score"]).any()
        assert not np.isnan(ours["box"]).any()

    def test_no_objects(self, kernels):
        r = Random(7, score_threshold=0.05)
        regions, numbers = propose(kernels, r)
        logits, offsets = random_head(r, len(regions))
        logits[:, 0] = 50
        assert len(find(kernels, r, numbers, len(regions), logits, offsets)) == 0

    def test_hundreds_of_regions_on_one_object(self, kernels):
        r = Random(8, proposals=400, classes=2, most=100, score_threshold=0.05)
        count = 400
        numbers = np.zeros((KEPT_ROWS, rounded(count, AT_ONCE)), np.float32)
        jitter = r.random.uniform(-0.5, 0.5, (4, count))
        numbers[:4, :count] = np.float32([[4], [5], [24], [30]]) + jitter
        r.size, r.picture = (32, 32), (64, 64)
        logits = np.stack([np.zeros(count), r.random.uniform(1, 3, count)], 1).astype(np.float32)
        offsets = np.zeros((count, 8), np.float32)
        ours = find(kernels, r, numbers, count, logits, offsets)
        assert len(ours) == 1
        assert_same(ours, r.objects(torch.from_numpy(numbers[:4, :count].T.copy()), logits, offsets))

    def test_equal_scores_go_by_region_and_class(self, kernels):
        r = Random(9, proposals=100, classes=4, most=100, score_threshold=0.05)
        regions, numbers = propose(kernels, r)
        logits, offsets = np.zeros((len(regions), 4), np.float32), np.zeros((len(regions), 16), np.float32)
        ours = find(kernels, r, numbers, len(regions), logits, offsets)
        theirs = r.objects(torch.from_numpy(regions.copy()), logits, offsets)
        np.testing.assert_array_equal(ours["label"], theirs["labels"].numpy())
        np.testing.assert_allclose(ours["box"], theirs["boxes"].numpy(), atol=0.01)

    def test_no_more_than_asked_for(self, kernels):
        r = Random(10, proposals=100, most=100, score_threshold=0.0)
        regions, numbers = propose(kernels, r)
        logits, offsets = random_head(r, len(regions))
        every = find(kernels, r, numbers, len(regions), logits, offsets)
        assert len(every) > 3
        few = find(kernels, r, numbers, len(regions), logits, offsets, max_boxes=3)
        np.testing.assert_array_equal(few, every[:3])


TINY = {
    "anchor_sizes": ((16,), (32,), (64,), (128,)),
    "pool_size": 3,
    "pyramid_channels": 20,
    "head_channels": 24,
    "proposals_test": 70,
}


@torch.no_grad()
def settled(**fields):
    """A detector whose scores are spread out: BN's statistics are those of noise."""
    backbone = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}
    named = tuple(Category(i, f"class {i}") for i in (1, 2, 3))
    torch.manual_seed(0)
    detector = build_detector(detector_config(backbone, named, layout="fpn", **{**TINY, **fields}))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    detector.train().backbone(torch.randn(4, 3, 64, 96))
    for name in ("rpn.head.cls_logits", "rpn.head.bbox_pred"):
        detector.get_submodule(name).weight.mul_(20)
    for name in ("cls_score", "bbox_pred"):
        detector.get_submodule(f"roi_heads.box_predictor.{name}").weight.mul_(30)
    return detector.eval()


@pytest.fixture(scope="module")
def whole():
    """A detector, odd in size, and its source for pictures of 131×90."""
    detector = settled(short_side=75, long_side=125)
    return detector, *compile_detector_source(detector, name="finder", size=(131, 90))[1:]


def picture(*size):
    return np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)


def beside_one_that_fills(detector, decoder, pixels):
    """What torch finds where the picture is padded to the size that the C was compiled for: that of a larger one beside it."""
    height, width = pixels.shape[:2]
    scaled = detector.transform.resize(torch.zeros(3, height, width))[0].shape[-2:]
    most = decoder.padded_size
    if scaled[0] > most[0] or scaled[1] > most[1]:
        return None
    detector.transform.batch_images = lambda images, size_divisible: torch.nn.functional.pad(
        images[0], (0, most[1] - images[0].shape[2], 0, most[0] - images[0].shape[1])
    )[None]
    try:
        return torch_boxes(detector, pixels)
    finally:
        del detector.transform.batch_images


class TestWholeDetector:
    def test_it_finds_torchs_boxes_in_pictures_of_its_size(self, whole):
        detector, _, decoder = whole
        compiled = compile_detector(detector, (131, 90))
        found = 0
        for pixels in (picture(131, 90), picture(262, 180), picture(260, 181)):
            ours = compiled(pixels)
            assert_alike(ours, torch_boxes(detector, pixels))
            found += len(ours)
        assert found > 20
        # Of other shapes: padded as beside a picture that fills the canvas, or shrunk.
        for pixels in (picture(100, 80), picture(90, 90)):
            assert_alike(compiled(pixels), beside_one_that_fills(detector, decoder, pixels))
        for pixels in (picture(40, 200), picture(1, 1), picture(1, 300)):
            boxes = compiled(pixels)["box"]
            height, width = pixels.shape[:2]
            assert ((boxes >= 0) & (boxes <= np.float32([width, height, width, height]) * 1.0001)).all()

    @pytest.mark.parametrize("machine", MACHINES)
    def test_every_machine_finds_and_draws_the_same(self, whole, machine, tmp_path):
        detector, source, _ = whole
        pictures = [picture(131, 90), picture(260, 181)]
        for pixels, ours in zip(pictures, find_on(machine, source, pictures, tmp_path), strict=True):
            assert_alike(ours, torch_boxes(detector, pixels))

    def test_the_finder_compiles_for_each_padded_size(self, whole):
        detector = whole[0]
        finder = compiled_finder(detector)
        pictures = [torch.from_numpy(picture(*size)).permute(2, 0, 1).float() / 255 for size in ((131, 90), (90, 131))]
        with torch.inference_mode():
            for ours, theirs in zip(
                finder(pictures), detector.eval()([*pictures[:1]]) + detector(pictures[1:]), strict=True
            ):
                array = np.zeros(len(ours["scores"]), BOX)
                array["box"], array["score"], array["label"] = (
                    ours[name].numpy() for name in ("boxes", "scores", "labels")
                )
                assert_alike(array, theirs)
        with pytest.raises(UserError, match="9000 pixels wide"):
            finder([torch.zeros(3, 6000, 9000)])

    def test_networks_and_the_parameters_beside_them(self, whole, tmp_path):
        detector = whole[0]
        graph, parameters = export_heads(detector, tmp_path / "heads.onnx", (131, 90))
        record = json.loads(parameters.read_text())
        assert record["short_side"] == 75
        assert record["class_names"] == ["class 1", "class 2", "class 3"]
        session = onnxruntime.InferenceSession(graph)
        pixels = torch.randn(1, 3, *record["padded_size"])
        regions = torch.randn(record["regions_at_once"], record["channels"], record["pool_size"], record["pool_size"])
        planes = regions.permute(2, 3, 1, 0).reshape(1, -1, 1, len(regions))
        outputs = session.run(None, {"picture": pixels.numpy(), "regions": planes.numpy()})
        names = [output.name for output in session.get_outputs()]
        with torch.inference_mode():
            maps = list(detector.backbone(pixels).values())
            objectness, _ = detector.rpn.head(maps)
            logits, _ = detector.roi_heads.box_predictor(detector.roi_heads.box_head(regions))
        for name, expected in (
            ("map_16", maps[1]),
            ("objectness_64", objectness[3]),
            ("logits", logits.T[None, :, None]),
        ):
            np.testing.assert_allclose(outputs[names.index(name)], expected.numpy(), rtol=1e-3, atol=1e-3)

    def test_parameters_of_another_graph(self, whole):
        detector, source, _ = whole
        with pytest.raises(CompileError, match="export both from one detector"):
            with_boxes(source, region_decoder(detector, (96, 96)))
