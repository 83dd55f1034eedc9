"""A whole detector in one C file finds what torchvision's finds."""

import ctypes
import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD

from shufflenet.compiler.c.boxes import at_most
from shufflenet.compiler.c.emit import _kernel, threads_header
from shufflenet.compiler.c.one_stage import LIKELY_BYTES, _limit, with_boxes
from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.run.build import build, write_source
from shufflenet.compiler.run.detector import BOX, CompiledDetector
from shufflenet.deploy.detector import (
    box_decoder,
    compile_detector,
    compile_detector_source,
    compiled_finder,
    export_heads,
)
from shufflenet.detection import Category, OneStageConfig, build_detector, detector_config, open_split
from shufflenet.detection.anchors import anchor_grid
from shufflenet.detection.evaluate import detect
from shufflenet.detection.evaluate import score as coco_score
from shufflenet.errors import UserError

from .boxes import MACHINES, STRICT, assert_alike, assert_same, find_on, settled, torch_boxes, unmatched

BACKBONE = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}


def one_stage_config(random, categories=2, **fields):
    levels = int(random.integers(1, 5))
    strides = tuple(sorted(random.choice([8, 16, 32, 64, 128], levels, replace=False).tolist()))
    anchors = tuple(
        tuple((float(w), float(h)) for w, h in random.uniform(4, 90, (int(random.integers(1, 4)), 2)).round(1))
        for _ in strides
    )
    defaults = {
        "backbone": BACKBONE,
        "categories": tuple(Category(i, f"class {i}") for i in range(1, categories + 1)),
        "size": tuple(random.integers(32, 130, 2).tolist()),
        "strides": strides,
        "anchors": anchors,
        "neck_channels": 16,
    }
    return OneStageConfig(**{**defaults, **fields})


class Level(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("rows", "columns", "anchors", "stride")),
        *((name, ctypes.c_void_p) for name in ("sizes", "logits", "offsets")),
    )


class Canvas(ctypes.Structure):
    _fields_ = (
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("scale", ctypes.c_float * 3),
        ("shift", ctypes.c_float * 3),
    )


class Parameters(ctypes.Structure):
    _fields_ = (
        ("classes", ctypes.c_int),
        ("levels", ctypes.c_int),
        *((name, ctypes.c_float) for name in ("score_threshold", "nms_threshold", "limit")),
        ("candidates", ctypes.c_int),
        ("most", ctypes.c_int),
        ("level", Level * 8),
    )


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """boxes.c alone, with parameters of any detector."""
    folder = tmp_path_factory.mktemp("boxes")
    text = "\n".join(
        (
            "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>",
            "typedef struct { float x1, y1, x2, y2, score; int32_t label; } box;\n#define BOX box",
            *map(_kernel, ("vectors", "activation", "boxes", "one_stage")),
            "int find(const struct detector *d, int h, int w, int fh, int fw, void *likely, uint64_t *keys, box *kept, box *boxes,",
            "         int most) {",
            "  return find_boxes(d, h, w, fh, fw, likely, keys, kept, boxes, most);\n}",
            "void fit(int h, int w, int *oh, int *ow) { fit_into(h, w, oh, ow); }",
            "void resize(const struct canvas *canvas, const uint8_t *pixels, int h, int w, ptrdiff_t stride, int oh, int ow,",
            "            float *planes, float *row, int32_t *columns, float *shares) {",
            "  resize_into(canvas, pixels, h, w, stride, oh, ow, planes, row, columns, shares);\n}",
        )
    )
    (folder / "boxes.c").write_text(text)
    subprocess.run(
        ["gcc", *STRICT, "-O1", "-march=native", "-fPIC", "-shared", "boxes.c", "-o", "boxes.so"],
        cwd=folder,
        check=True,
    )
    return ctypes.CDLL(str(folder / "boxes.so"))


def parameters(config) -> Parameters:
    made = Parameters(len(config.categories) + 1, len(config.strides))
    made.score_threshold, made.nms_threshold = config.score_threshold, at_most(config.nms_threshold)
    made.limit = _limit(config.score_threshold)
    made.candidates, made.most = config.candidates_per_class, config.detections_per_picture
    return made


def post_process(kernels, config, logits, offsets, resized, picture, max_boxes=1000):
    """What boxes.c makes of heads' outputs [anchors, classes] and [anchors, 4]."""
    made, held, first = parameters(config), [], 0
    for i, (stride, (rows, columns), anchors) in enumerate(
        zip(config.strides, config.grids, config.anchors, strict=True)
    ):
        count = rows * columns * len(anchors)
        planes = [
            np.ascontiguousarray(x[first : first + count].reshape(rows, columns, -1).transpose(2, 0, 1))
            for x in (logits, offsets)
        ]
        arrays = (np.array(anchors, np.float32), *(plane.astype(np.float32) for plane in planes))
        held.append(arrays)
        made.level[i] = Level(rows, columns, len(anchors), stride, *(array.ctypes.data for array in arrays))
        first += count
    candidates = len(config.categories) * config.candidates_per_class
    likely = np.zeros(LIKELY_BYTES * first, np.uint8)
    keys, kept = np.zeros(max(first, candidates), np.uint64), np.zeros(candidates, BOX)
    boxes = np.zeros(max_boxes, BOX)
    pointers = (ctypes.c_void_p(array.ctypes.data) for array in (likely, keys, kept, boxes))
    found = kernels.find(ctypes.byref(made), *resized, *picture, *pointers, max_boxes)
    return boxes[:found]


def torchvisions(config, logits, offsets, resized, picture):
    ssd = SimpleNamespace(
        box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)),
        score_thresh=config.score_threshold,
        nms_thresh=config.nms_threshold,
        topk_candidates=config.candidates_per_class,
        detections_per_img=config.detections_per_picture,
    )
    outputs = {"cls_logits": torch.from_numpy(logits[None]), "bbox_regression": torch.from_numpy(offsets[None])}
    (found,) = SSD.postprocess_detections(ssd, outputs, [torch.from_numpy(anchor_grid(config))], [resized])
    scale = torch.tensor([picture[1] / resized[1], picture[0] / resized[0]] * 2)
    return {**found, "boxes": found["boxes"] * scale}


def random_heads(random, config):
    count, classes = len(anchor_grid(config)), len(config.categories) + 1
    logits = random.normal(0, random.uniform(0.5, 4), (count, classes)).astype(np.float32)
    logits[:, 0] += random.uniform(0, 4)
    return logits, random.normal(0, 1, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("seed", range(200))
def test_random_heads_become_torchvisions_boxes(kernels, seed):
    random = np.random.default_rng(seed)
    config = one_stage_config(
        random,
        categories=int(random.integers(1, 6)),
        score_threshold=float(random.choice([0.0, 0.05, 0.3])),
        nms_threshold=float(random.choice([0.3, 0.5, 0.7])),
        candidates_per_class=int(random.choice([5, 50, 400])),
        detections_per_picture=int(random.choice([3, 100, 300])),
    )
    logits, offsets = random_heads(random, config)
    resized = (int(random.integers(8, config.size[0] + 1)), int(random.integers(8, config.size[1] + 1)))
    picture = tuple(random.integers(1, 700, 2).tolist())
    ours = post_process(kernels, config, logits, offsets, resized, picture)
    assert_same(ours, torchvisions(config, logits, offsets, resized, picture))


class TestSpecialScores:
    @pytest.fixture
    def config(self):
        return one_stage_config(np.random.default_rng(3), size=(64, 96), strides=(8,), anchors=(((20.0, 20.0),),))

    def run(self, kernels, config, logits, offsets, **options):
        return post_process(kernels, config, logits, offsets, config.size, config.size, **options)

    def test_no_objects(self, kernels, config):
        logits, offsets = random_heads(np.random.default_rng(0), config)
        logits[:, 0] = 50
        assert len(self.run(kernels, config, logits, offsets)) == 0

    def test_a_nan_is_no_object(self, kernels, config):
        logits, offsets = random_heads(np.random.default_rng(0), config)
        logits[::2, np.arange(len(logits[::2])) % 3] = np.nan
        ours = self.run(kernels, config, logits, offsets)
        theirs = torchvisions(config, logits, offsets, config.size, config.size)
        assert len(ours) == len(theirs["scores"])
        np.testing.assert_allclose(ours["score"], theirs["scores"].numpy(), atol=1e-6)
        assert not np.isnan(ours["score"]).any()

    def test_equal_scores_go_by_index(self, kernels, config):
        count = len(anchor_grid(config))
        logits = np.tile(np.float32([0, 3, -9]), (count, 1))
        ours = self.run(kernels, config, logits, np.zeros((count, 4), np.float32))
        assert ours["box"][0].tolist() == [0, 0, 14, 14]
        middles = ours["box"][:, 1] * 1000 + ours["box"][:, 0]
        assert (np.diff(middles) >= 0).all()

    def test_hundreds_of_boxes_on_one_object(self, kernels, config):
        random = np.random.default_rng(0)
        grid = anchor_grid(config)
        middles = (grid[:, :2] + grid[:, 2:]) / 2
        offsets = np.zeros((len(grid), 4), np.float32)
        offsets[:, :2] = (np.float32([48, 32]) - middles) / 20 * 10
        logits = np.stack([np.zeros(len(grid)), random.uniform(1, 3, len(grid)), np.full(len(grid), -9)], 1)
        ours = self.run(kernels, config, logits.astype(np.float32), offsets)
        assert len(ours) == 1
        np.testing.assert_allclose(ours["box"], [[38, 22, 58, 42]], atol=1e-3)

    @pytest.mark.parametrize("threshold", [0.3, 0.5])
    def test_an_overlap_of_just_the_threshold_is_rounded_as_torchvision_does(self, kernels, config, threshold):
        inner = (10.0 * threshold, 10.0)
        config = replace(config, anchors=(((10.0, 10.0), inner),), nms_threshold=threshold)
        logits = np.tile(np.float32([9, 0, -9]), (len(anchor_grid(config)), 1))
        logits[26:28, 1] = 20  # both anchors of row 1, column 1
        offsets = np.zeros((len(logits), 4), np.float32)
        theirs = torchvisions(config, logits, offsets, config.size, config.size)
        assert len(theirs["scores"]) == (1 if threshold == 0.3 else 2)  # float32's 0.3 is above 0.3
        assert_same(self.run(kernels, config, logits, offsets), theirs)

    def test_no_more_than_asked_for(self, kernels, config):
        logits, offsets = random_heads(np.random.default_rng(0), config)
        logits[:, 0] -= 5
        every = self.run(kernels, config, logits, offsets)
        assert len(every) > 3
        np.testing.assert_array_equal(self.run(kernels, config, logits, offsets, max_boxes=3), every[:3])


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_pictures_are_resized_as_torchvision_does(kernels, seed, letterbox):
    from shufflenet.detection.one_stage import FixedSize

    random = np.random.default_rng(seed)
    config = one_stage_config(random, letterbox=letterbox)
    height, width = config.size if seed < 2 else random.integers(1, 300, 2).tolist()
    wide = random.integers(0, 256, (height, width + 5, 3), dtype=np.uint8)
    pixels = wide[:, :width]
    planes = np.full((3, *config.padded_size), np.nan, np.float32)
    scratch = (
        np.empty(3 * (width + 2), np.float32),
        np.empty(config.size[1], np.int32),
        np.empty(config.size[1], np.float32),
    )
    canvas = Canvas(*config.padded_size)
    canvas.scale = tuple(1 / (255 * std) for std in config.std)
    canvas.shift = tuple(-mean / std for mean, std in zip(config.mean, config.std, strict=True))
    oh, ow = map(ctypes.c_int, config.size)
    if letterbox:
        kernels.fit(height, width, ctypes.byref(oh), ctypes.byref(ow))
    kernels.resize(
        ctypes.byref(canvas), ctypes.c_void_p(pixels.ctypes.data), height, width, ctypes.c_ssize_t(wide.strides[0]),
        oh, ow, *(ctypes.c_void_p(array.ctypes.data) for array in (planes, *scratch)),
    )  # fmt: skip
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    images, _ = FixedSize(config)([picture])
    assert images.image_sizes == [(oh.value, ow.value)]
    np.testing.assert_allclose(planes, images.tensors[0].numpy(), atol=1e-4)


@pytest.fixture(scope="module")
def whole():
    """A detector, odd in size, and its source."""
    random = np.random.default_rng(0)
    config = one_stage_config(
        random, categories=3, size=(72, 100), letterbox=True, strides=(8, 16, 32, 64),
        anchors=(((10.0, 12.0), (16.0, 9.0)), ((30.0, 24.0),), ((50.0, 60.0),), ((80.0, 80.0),)),
    )  # fmt: skip
    detector = settled(config)
    return detector, compile_detector_source(detector, name="finder")[1]


def pictures():
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((50, 70), (131, 40), (9, 200), (1, 1))]


def test_float16_weights_find_nearly_the_same(whole):
    detector, usual = whole
    compiled, source, decoder = compile_detector_source(detector, name="finder", weights="float16")
    assert source.signature.weights_bytes < 0.51 * usual.signature.weights_bytes
    assert compiled.rounding
    # Weights at random, four times as large as usual: what is rounded grows on its way.
    assert 1e-3 < compiled.rounding.largest_difference < 3e-2
    halves, floats = CompiledDetector(build(source), decoder), CompiledDetector(build(usual), decoder)
    best = [np.sort(found(pictures()[0])["score"])[-5:] for found in (halves, floats)]
    np.testing.assert_allclose(best[0], best[1], atol=0.03)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_whole_detector_finds_torchvisions_boxes(whole, seed):
    detector = whole[0]
    if seed:
        random = np.random.default_rng(seed)
        detector = settled(one_stage_config(random, categories=2, size=(64, 96)), seed)
    compiled = compile_detector(detector)
    found = 0
    for pixels in pictures():
        ours, theirs = compiled(pixels), torch_boxes(detector, pixels)
        assert_alike(ours, theirs)
        found += len(ours)
    assert found > 20
    finder = compiled_finder(detector)
    torch.testing.assert_close(
        finder([torch.from_numpy(pictures()[0]).permute(2, 0, 1).float() / 255])[0]["scores"],
        torch.from_numpy(compiled(pictures()[0])["score"].copy()),
    )
    with pytest.raises(ValueError, match="a picture is uint8"):
        compiled(np.zeros((4, 4), np.uint8))
    with pytest.raises(UserError, match="9000 pixels wide"):
        finder([torch.zeros(3, 1, 9000)])


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_finds_and_draws_the_same(whole, machine, tmp_path):
    detector, source = whole
    for pixels, ours in zip(pictures(), find_on(machine, source, pictures(), tmp_path), strict=True):
        theirs = torch_boxes(detector, pixels)
        assert not unmatched(theirs["boxes"].numpy(), theirs["scores"].numpy(), theirs["labels"].numpy(), ours, 0.051)


ON_THREADS = """\
#include <stdlib.h>
#include <string.h>
#include "finder.h"
#include "threads.h"
enum { HEIGHT = 61, WIDTH = 83, MOST = 100 };
int main(void) {
  static uint8_t pixels[3 * HEIGHT * WIDTH];
  for (size_t i = 0, x = 1; i < sizeof pixels; i++) pixels[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
  static finder_box expected[MOST], boxes[MOST];
  void *const alone = malloc(FINDER_DETECT_ARENA_BYTES);
  const int count = finder_detect_rgb8(pixels, HEIGHT, WIDTH, 3 * WIDTH, expected, MOST, alone);
  free(alone);
  if (count < 5) return 2;
  const int workers[] = {1, 2, 3, 7};
  for (int i = 0; i < 4; i++) {
    void *const arena = malloc(FINDER_DETECT_ARENA_BYTES_FOR(workers[i]));
    static struct threads threads;
    threads_start(&threads, workers[i]);
    const int found = finder_detect_rgb8_on(pixels, HEIGHT, WIDTH, 3 * WIDTH, boxes, MOST, arena, threads_for, &threads);
    threads_stop(&threads);
    free(arena);
    if (found != count || memcmp(boxes, expected, sizeof(finder_box) * (size_t)count)) return 3;
  }
  return 0;
}
"""


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_any_number_of_threads_finds_the_same(whole, sanitizer, tmp_path):
    write_source(whole[1], tmp_path)
    (tmp_path / "threads.h").write_text(threads_header())
    (tmp_path / "main.c").write_text(ON_THREADS)
    flags = ("-std=gnu11", "-O1", "-g", "-march=native", "-Wno-psabi", "-pthread", f"-fsanitize={sanitizer}")
    subprocess.run(["gcc", *flags, "main.c", "finder.c", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_heads_and_the_parameters_beside_them(whole, tmp_path):
    detector = whole[0]
    graph, parameters = export_heads(detector, tmp_path / "heads.onnx")
    record = json.loads(parameters.read_text())
    assert record["class_names"] == ["class 1", "class 2", "class 3"]
    assert [level["stride"] for level in record["levels"]] == [8, 16, 32, 64]
    session = onnxruntime.InferenceSession(graph)
    picture = torch.randn(1, 3, *record["padded_size"])
    outputs = session.run(None, {"picture": picture.numpy()})
    with torch.inference_mode():
        maps = list(detector.backbone(picture).values())
        expected = detector.get_submodule("head.classification_head.module_list.0")(maps[0])
    np.testing.assert_allclose(outputs[0], expected.numpy(), atol=1e-3 * float(expected.abs().max()))
    with pytest.raises(UserError, match="is there already"):
        export_heads(detector, tmp_path / "heads.onnx")


def test_two_stages_have_no_heads_to_export(tmp_path):
    detector = build_detector(detector_config(BACKBONE, (Category(1, "cup"),), short_side=64))
    with pytest.raises(UserError, match="layout paper"):
        export_heads(detector, tmp_path / "heads.onnx")


def test_the_compiled_detector_scores_as_torch_does(whole, tmp_path):
    """On pictures whose objects are every other box that torch finds, moved a little, so that all thresholds of overlap are met."""
    detector = whole[0]
    random = np.random.default_rng(0)
    images, objects = [], []
    for number in range(1, 7):
        pixels = random.integers(0, 256, (60 + 10 * number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 90, "height": 60 + 10 * number})
        found = torch_boxes(detector, pixels)
        for box, label in zip(found["boxes"][:12:2].tolist(), found["labels"][:12:2].tolist(), strict=True):
            x1, y1, x2, y2 = np.array(box) + random.uniform(-3, 3, 4)
            sides = [x1, y1, max(x2 - x1, 1), max(y2 - y1, 1)]
            objects.append(
                {"id": len(objects) + 1, "image_id": number, "category_id": label, "bbox": sides, "iscrowd": 0}
            )
            objects[-1]["area"] = sides[2] * sides[3]
    categories = [{"id": category.id, "name": category.name} for category in detector.config.categories]
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    annotations = open_split(path, "test", tmp_path)
    scores = [
        coco_score(annotations, detect(detector, annotations, find=find)).average_precision
        for find in (None, compiled_finder(detector))
    ]
    assert 0.02 < scores[0] < 0.99
    assert scores[1] == pytest.approx(scores[0], abs=0.001)


@pytest.mark.parametrize("max_boxes", [0, -1])
def test_no_room_for_boxes_finds_none_and_writes_none(whole, max_boxes):
    compiled = compile_detector(whole[0])
    pixels = pictures()[0]
    boxes = np.full(1, 7, BOX)
    arena = np.empty(compiled.arena_bytes, np.uint8)
    arguments = (
        pixels.ctypes.data,
        *pixels.shape[:2],
        pixels.strides[0],
        boxes.ctypes.data,
        max_boxes,
        arena.ctypes.data,
    )
    pointer, whole_number = ctypes.c_void_p, ctypes.c_int
    kinds = (pointer, whole_number, whole_number, ctypes.c_ssize_t, pointer, whole_number, pointer)
    assert compiled._detect(*(kind(value) for kind, value in zip(kinds, arguments, strict=True))) == 0
    assert boxes["label"] == 7


def test_two_stages_do_not_compile_whole():
    detector = build_detector(detector_config(BACKBONE, (Category(1, "cup"),), short_side=64))
    with pytest.raises(UserError, match="does not compile whole"):
        compile_detector(detector)


def test_parameters_of_another_graph(whole):
    detector, source = whole
    decoder = box_decoder(detector.config)
    with pytest.raises(CompileError, match="export both from one detector"):
        with_boxes(source, replace(decoder, class_names=("one",)))
