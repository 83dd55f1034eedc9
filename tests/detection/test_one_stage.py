"""The one-stage layout: its anchors, its cost, and that it is torchvision's SSD."""

import json

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou, generalized_box_iou
from torchvision.transforms import v2

from shufflenet import create
from shufflenet.detection import (
    Category,
    OneStageConfig,
    build_detector,
    config_from_json,
    detector_cost,
    detector_for,
    load_detector,
    one_stage_config,
    recipes_for,
    save_detector,
)
from shufflenet.detection.anchors import anchor_grid, choose_anchors, cluster
from shufflenet.detection.augmentation import training_transform
from shufflenet.detection.dataset import DetectionDataset
from shufflenet.errors import UserError

BACKBONE = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}
CATEGORIES = (Category(1, "bowl"), Category(2, "cup"))


def config(**fields):
    defaults = {
        "backbone": BACKBONE,
        "categories": CATEGORIES,
        "size": (64, 96),
        "strides": (8, 16, 64),
        "anchors": (((10.0, 12.0), (20.0, 16.0)), ((40.0, 40.0),), ((60.0, 90.0),)),
        "neck_channels": 16,
    }
    return OneStageConfig(**{**defaults, **fields})


@pytest.fixture
def boxes_of(read, box):
    """Annotations of one picture of 320 × 320 with boxes of these sizes."""

    def make(*sizes):
        images = [{"id": 1, "file_name": "big.png", "width": 320, "height": 320}]
        return read([box(id=i, bbox=[0, 0, *size]) for i, size in enumerate(sizes, 1)], images=images)

    return make


class TestAnchors:
    def test_boxes_go_to_the_level_of_their_size_and_unused_levels_are_left_out(self, boxes_of):
        strides, anchors = choose_anchors(boxes_of((20, 22), (24, 20), (30, 30), (200, 260)), (320, 320))
        assert strides == (8, 64)
        assert anchors == (((20.0, 22.0), (24.0, 20.0), (30.0, 30.0)), ((200.0, 260.0),))

    def test_they_are_in_pixels_of_the_resized_picture(self, boxes_of):
        annotations = boxes_of((40, 40))
        assert choose_anchors(annotations, (160, 320))[1] == (((40.0, 20.0),),)
        assert choose_anchors(annotations, (160, 320), letterbox=True)[1] == (((20.0, 20.0),),)

    def test_clusters_are_the_means_of_well_separated_sizes(self):
        random = np.random.default_rng(0)
        middles = np.array([[20, 60], [70, 24], [120, 120]])
        sizes = np.repeat(middles, 50, axis=0) * random.uniform(0.95, 1.05, (150, 2))
        assert np.abs(cluster(sizes, 3) / middles - 1).max() < 0.05

    def test_the_grid_is_that_of_the_maps(self):
        chosen = config(size=(72, 100))
        detector = build_detector(chosen).eval()
        with torch.inference_mode():
            maps = detector.backbone(torch.zeros(1, 3, *chosen.padded_size))
            outputs = detector.head(list(maps.values()))
        grid = anchor_grid(chosen)
        assert [tuple(x.shape[2:]) for x in maps.values()] == list(chosen.grids)
        assert len(grid) == outputs["cls_logits"].shape[1]
        np.testing.assert_allclose(grid[1], [4 - 10, 4 - 8, 4 + 10, 4 + 8])
        np.testing.assert_allclose(grid[2], [12 - 5, 4 - 6, 12 + 5, 4 + 6])

    def test_without_boxes(self, read):
        with pytest.raises(UserError, match="no anchors can be chosen"):
            choose_anchors(read([]), (64, 64))


@pytest.mark.parametrize("categories", [1, 8, 90])
@pytest.mark.parametrize("variant", ["shufflenet_x0_5_g3", "shufflenet_x1_0_g3"])
def test_neck_and_head_cost_at_most_three_tenths_of_the_backbone(variant, categories, read, box):
    named = [{"id": number, "name": str(number)} for number in range(1, categories + 1)]
    images = [{"id": 1, "file_name": "big.png", "width": 320, "height": 320}]
    # Every level is called for, each by many shapes.
    sides = [side * scale for side in (20, 30, 60, 120, 240) for scale in (0.8, 1, 1.2)]
    boxes = [box(id=i, category_id=1, bbox=[0, 0, side, side * 0.9]) for i, side in enumerate(sides, 1)]
    annotations = read(boxes, categories=named, images=images)
    with torch.device("meta"):
        backbone = create(variant).spec
    cost = detector_cost(build_detector(one_stage_config({**backbone, "num_classes": 1}, annotations)))
    assert cost.multiply_adds <= 1.3 * cost.backbone


def test_pictures_of_any_size_give_boxes_inside_them():
    torch.manual_seed(0)
    detector = build_detector(config(score_threshold=0.0, letterbox=True)).eval()
    pictures = [torch.rand(3, 33, 200), torch.rand(3, 300, 40), torch.rand(3, 64, 96)]
    with torch.inference_mode():
        for picture, output in zip(pictures, detector(pictures), strict=True):
            height, width = picture.shape[1:]
            assert len(output["boxes"])
            assert (output["boxes"] >= 0).all()
            assert (output["boxes"] <= torch.tensor([width, height, width, height]) + 1e-3).all()


def test_saved_and_loaded(tmp_path):
    detector = build_detector(config()).eval()
    assert config_from_json(json.loads(json.dumps(detector.config.to_json()))) == detector.config
    save_detector(detector, tmp_path / "saved")
    loaded = load_detector(tmp_path / "saved")
    picture = [torch.rand(3, 50, 70)]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(picture), detector(picture))


def test_a_classifiers_weights_come_over(boxes_of):
    net = create("shufflenet_x0_25_g3", num_classes=5).eval()
    detector = detector_for(net, boxes_of((30, 30)), layout="ssdlite", trained=True, size=(64, 64)).eval()
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(detector.backbone.features(x)["stage4"], net.features(x)["stage4"])


def test_training_pictures_have_the_detectors_size_and_their_boxes_lie_inside(read, box):
    annotations = read([box(), box(id=2, bbox=[60, 5, 30, 30])])
    recipe = recipes_for("ssdlite")["scratch"]
    for letterbox in (False, True):
        chosen = config(letterbox=letterbox)
        dataset = DetectionDataset(annotations, CATEGORIES, transform=training_transform(recipe, chosen))
        for epoch in range(20):
            dataset.set_epoch(epoch)
            pixels, target = dataset[0]
            assert pixels.shape[1] <= 64
            assert pixels.shape[2] <= 96
            assert pixels.shape[1] == 64 or pixels.shape[2] == 96
            assert len(target["boxes"]) == len(target["labels"])
            assert (target["boxes"] <= torch.tensor([96, 64, 96, 64])).all()


def test_background_is_not_cropped(read):
    recipe = recipes_for("ssdlite")["scratch"]
    dataset = DetectionDataset(read([]), CATEGORIES, transform=training_transform(recipe, config()))
    for epoch in range(5):
        dataset.set_epoch(epoch)
        assert dataset[0][1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"size": (16, 64)}, "size is 16×64"),
        ({"strides": (16, 8, 64)}, "strides is"),
        ({"strides": (8, 16, 24)}, "strides is"),
        ({"anchors": (((1.0, 1.0),),)}, "anchors has 1 levels"),
        ({"anchors": (((1.0, 0.0),),) * 3}, "above 0"),
        ({"neck_channels": 0}, "neck_channels is 0"),
        ({"layout": "fpn"}, "layout is 'fpn'"),
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"detections_per_picture": 0}, "detections_per_picture is 0"),
    ],
)
def test_impossible_configs(fields, complaint):
    with pytest.raises(UserError, match=complaint):
        config(**fields)


def test_recipes_vary_only_as_far_as_probabilities_go():
    recipe = recipes_for("ssdlite")["scratch"]
    assert isinstance(training_transform(recipe, config()), v2.Compose)
    for name, value in (("photometric", 1.5), ("iou_crop", -1), ("zoom_out", 0.5)):
        with pytest.raises(UserError, match=name):
            type(recipe)(**{name: value})


class TestLoss:
    """`compute_loss` beside the same sums, anchor by anchor."""

    def outputs(self, anchors, seed=0):
        torch.manual_seed(seed)
        return {"bbox_regression": torch.randn(2, anchors, 4) / 4, "cls_logits": torch.randn(2, anchors, 3)}

    def test_is_the_sum_over_matched_anchors_and_the_worst_of_the_others(self):
        detector = build_detector(config(negatives_per_object=2.0))
        grid = torch.from_numpy(anchor_grid(detector.config))
        outputs = self.outputs(len(grid))
        targets = [
            {"boxes": grid[[3, 40]] + 1, "labels": torch.tensor([1, 2])},
            {"boxes": grid[[7]] * 1.02, "labels": torch.tensor([2])},
        ]
        matched = [torch.full((len(grid),), -1), torch.full((len(grid),), -1)]
        matched[0][3], matched[0][40], matched[1][7] = 0, 1, 0
        losses = detector.compute_loss(targets, outputs, [grid, grid], matched)
        box_sum = class_sum = 0.0
        for picture, found in enumerate(matched):
            probabilities = outputs["cls_logits"][picture].softmax(1)
            for anchor in torch.where(found >= 0)[0].tolist():
                object_ = int(found[anchor])
                box = detector.box_coder.decode_single(outputs["bbox_regression"][picture, [anchor]], grid[[anchor]])
                wanted = targets[picture]["boxes"][[object_]]
                box_sum += 2 * float(1 - generalized_box_iou(box, wanted))
                overlap = float(box_iou(box, wanted))
                label = int(targets[picture]["labels"][object_])
                class_sum -= overlap * float(probabilities[anchor, label].log())
                class_sum -= (1 - overlap) * float(probabilities[anchor, 0].log())
            background = sorted((-probabilities[found < 0, 0].log()).tolist(), reverse=True)
            class_sum += sum(background[: 2 * int((found >= 0).sum())])
        assert float(losses["bbox_regression"]) == pytest.approx(box_sum / 3, rel=1e-5)
        assert float(losses["classification"]) == pytest.approx(class_sum / 3, rel=1e-5)

    def test_of_background_alone_is_nothing_and_has_gradients(self):
        detector = build_detector(config())
        grid = torch.from_numpy(anchor_grid(detector.config))
        outputs = {name: output.requires_grad_() for name, output in self.outputs(len(grid)).items()}
        targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}] * 2
        losses = detector.compute_loss(targets, outputs, [grid] * 2, [torch.full((len(grid),), -1)] * 2)
        sum(losses.values()).backward()
        assert [loss.item() for loss in losses.values()] == [0, 0]
        assert not outputs["cls_logits"].grad.any()


@pytest.mark.parametrize("size", [(16, 64), (64, 31)])
def test_a_size_below_32_pixels_is_refused(size):
    with pytest.raises(UserError, match=rf"size is {size[0]}×{size[1]}; each side is at least 32 pixels"):
        config(size=size)


def test_decoded_pictures_are_kept_where_they_are_varied(read, box, monkeypatch):
    from shufflenet.detection import dataset as module

    opened = []
    monkeypatch.setattr(
        module, "read_picture", lambda path, real=module.read_picture: opened.append(path) or real(path)
    )
    annotations = read([box()])
    recipe = recipes_for("ssdlite")["scratch"]
    training = DetectionDataset(annotations, CATEGORIES, transform=training_transform(recipe, config()))
    for epoch in range(3):
        training.set_epoch(epoch)
        training[0]
    assert len(opened) == 1
    monkeypatch.setattr(module, "KEPT_BYTES", 3 * 100 * 80 - 1)
    large = DetectionDataset(annotations, CATEGORIES, transform=training_transform(recipe, config()))
    looked_at = DetectionDataset(annotations, CATEGORIES)
    for _ in range(2):
        large[0]
        looked_at[0]
    assert len(opened) == 5
