"""The detector: its layouts over the networks, its weights' way from a classifier and to disk, its cost."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.detection import (
    Category,
    build_detector,
    config_from_json,
    detector_config,
    detector_cost,
    load_backbone,
    load_detector,
    save_detector,
)
from shufflenet.detection.backbone import backbone_of, preprocessing_of
from shufflenet.detection.cost import resized
from shufflenet.errors import UserError
from shufflenet.nets import cost, create

CATEGORIES = (Category(1, "cup"), Category(2, "bowl"))
# A network of each kind: with SE, without shuffle, shallow, rivals, MobileNets.
VARIANTS = (
    *(
        "shufflenet_x0_25_g8",
        "shufflenet_x1_0_g3",
        "shufflenet_x2_0_g3",
        "shufflenet_x0_25_g3_se",
        "shufflenet_x0_25_g3_noshuffle",
    ),
    *(
        "shufflenet_x0_5_g3_shallow",
        "vgg_like_38m",
        "resnet_like_13m",
        "resnext_like_13m",
        "mobilenet_x1_0",
        "mobilenet_x0_25",
    ),
)


@pytest.mark.parametrize("layout", ["paper", "fpn"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_network_learns_and_detects(make_detector, variant, layout):
    detector = make_detector(variant=variant, layout=layout)
    pictures = [torch.rand(3, 65, 70), torch.rand(3, 33, 101)]
    targets = [
        {"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0], [5.0, 6.0, 70.0, 65.0]]), "labels": torch.tensor([1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    losses = detector.train()(pictures, targets)
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    silent = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert not silent, "DistributedDataParallel would wait for their gradients"
    for picture, output in zip(pictures, detector.eval()(pictures), strict=True):
        height, width = picture.shape[1:]
        boxes = output["boxes"]
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= width + 1e-3).all()
        assert (boxes[:, 3] <= height + 1e-3).all()
        assert output["labels"].ge(1).all()


@pytest.mark.parametrize("variant", ["alexnet", "googlenet", "pvanet"])
def test_networks_without_maps_of_named_strides(variant):
    with pytest.raises(UserError, match=f"{variant} gives no maps of stride 8, 16 and 32"):
        build_detector(
            detector_config({"name": variant, "num_classes": 1, "in_channels": 3, "stem": "imagenet"}, CATEGORIES)
        )


def test_strides_of_the_maps(make_detector):
    x = torch.zeros(1, 3, 96, 160)
    maps = make_detector(layout="paper").backbone(x)
    assert {name: tuple(y.shape[2:]) for name, y in maps.items()} == {"stage3": (6, 10)}
    maps = make_detector(layout="fpn").backbone(x)
    assert [tuple(y.shape[2:]) for y in maps.values()] == [(12, 20), (6, 10), (3, 5), (2, 3)]


class TestClassifiersWeights:
    """A detector's stages compute what the classifier's did, whatever pictures it was for."""

    def classifier(self, channels, stem="imagenet"):
        torch.manual_seed(1)
        net = create("shufflenet_x0_25_g3", num_classes=5, in_channels=channels, stem=stem).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
                torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        return net

    def detector(self, net, layout="paper"):
        preprocessing = preprocessing_of(net)
        detector = build_detector(
            detector_config(
                backbone_of(net),
                CATEGORIES,
                layout=layout,
                mean=preprocessing.mean,
                std=preprocessing.std,
                short_side=64,
            )
        )
        load_backbone(detector, net)
        return detector.eval()

    @pytest.mark.parametrize("layout", ["paper", "fpn"])
    @pytest.mark.parametrize(
        "preprocessing",
        [
            Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)),
            Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channel_order="BGR"),
            Preprocessing(mean=(0.3,), std=(0.4,), channel_order="grey"),
        ],
        ids=["RGB", "BGR", "grey"],
    )
    @torch.no_grad()
    def test_maps_are_the_classifiers(self, preprocessing, layout):
        net = self.classifier(preprocessing.channels)
        net.metadata = Metadata(preprocessing)
        picture = torch.rand(3, 64, 96)
        values = {
            "RGB": picture,
            "BGR": picture.flip(0),
            "grey": (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * picture).sum(0, keepdim=True),
        }[preprocessing.channel_order]
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (preprocessing.mean, preprocessing.std))
        expected = net.features(((values - mean) / std)[None])
        detector = self.detector(net, layout)
        seen = {}
        detector.backbone.stage3.register_forward_hook(lambda module, inputs, output: seen.update(stage3=output))
        detector([picture])
        torch.testing.assert_close(seen["stage3"], expected["stage3"], rtol=1e-4, atol=1e-4)
        stage4 = detector.backbone.stage4 if layout == "fpn" else detector.roi_heads.box_head.stage4
        torch.testing.assert_close(stage4(expected["stage3"]), expected["stage4"])

    def test_a_small_stem_is_given_its_strides_back(self):
        net = self.classifier(3, stem="small")
        detector = self.detector(net)
        torch.testing.assert_close(detector.backbone.stem[0].weight, net.stem[0].weight)
        assert detector.backbone(torch.zeros(1, 3, 64, 64))["stage3"].shape[2:] == (4, 4)

    def test_inputs_that_are_no_pictures(self):
        net = self.classifier(4)
        net.metadata = Metadata(Preprocessing(mean=(0.0,) * 4, std=(1.0,) * 4, channel_order="other"))
        with pytest.raises(UserError, match="4 channels in an order of its own"):
            preprocessing_of(net)


class TestFolder:
    def test_a_saved_detector_finds_the_same(self, make_detector, tmp_path):
        detector = make_detector(score_threshold=0.0)
        detector.training_record = {"dataset": "cups"}
        save_detector(detector, tmp_path / "saved")
        loaded = load_detector(tmp_path / "saved")
        assert loaded.config == detector.config
        assert loaded.training_record == {"dataset": "cups"}
        picture = torch.rand(3, 70, 90)
        for first, second in zip(detector([picture])[0].values(), loaded([picture])[0].values(), strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=0)

    def refused(self, folder, complaint):
        with pytest.raises(UserError, match=complaint):
            load_detector(folder)

    def test_what_is_no_detector(self, make_detector, tmp_path):
        self.refused(tmp_path / "nowhere", "there is no folder")
        self.refused(tmp_path, "has no config.json")
        (tmp_path / "config.json").write_text(json.dumps({"format": "shufflenet", "architecture": {"name": "alexnet"}}))
        self.refused(tmp_path, "holds a classifier or something else")

    def test_damage(self, make_detector, tmp_path):
        save_detector(make_detector(), tmp_path / "saved")
        config = json.loads((tmp_path / "saved" / "config.json").read_text())
        for change, complaint in (
            ({"layout": "paper"}, "anchor_sizes has 4 levels; the paper layout needs 1"),
            ({"head_channels": 65}, "does not fit what config.json describes"),
            ({"categories": [{"id": 1}]}, "wrong value"),
            ({"short_side": 0}, "short_side is 0"),
            ({"colour": "red"}, "missing or unknown fields: colour"),
        ):
            changed = {**config, "detector": {**config["detector"], **change}}
            (tmp_path / "saved" / "config.json").write_text(json.dumps(changed))
            self.refused(tmp_path / "saved", complaint)

    def test_a_folder_that_is_not_empty(self, make_detector, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match="not empty"):
            save_detector(make_detector(), tmp_path)


class TestConfig:
    BACKBONE: ClassVar = {"name": "shufflenet_x1_0_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}

    def test_the_papers_sizes(self):
        config = detector_config(self.BACKBONE, CATEGORIES)
        assert (config.short_side, config.long_side) == (600, 1000)
        config = detector_config(self.BACKBONE, CATEGORIES, short_side=300)
        assert (config.short_side, config.long_side) == (300, 500)
        assert config.anchor_sizes == ((64, 128, 256, 512),)

    def test_anchors_are_scaled(self):
        config = detector_config(self.BACKBONE, CATEGORIES, anchor_scale=0.25)
        assert config.anchor_sizes == ((16, 32, 64, 128),)

    @pytest.mark.parametrize("layout", ["paper", "fpn"])
    def test_json_and_back(self, layout):
        config = detector_config(self.BACKBONE, CATEGORIES, layout=layout)
        assert config_from_json(json.loads(json.dumps(config.to_json()))) == config

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"layout": "yolo"}, "layout is 'yolo'"),
            ({"anchor_scale": 0}, "anchor_scale is 0"),
            ({"short_side": 16}, "short_side is 16"),
            ({"anchor_sizes": ((32,), (64, 128))}, "2 levels"),
            ({"layout": "fpn", "anchor_sizes": ((32,), (64, 91), (1,), (2,))}, "same number of sizes"),
            ({"strides": 4}, "no field 'strides'"),
        ],
    )
    def test_values_that_cannot_be(self, fields, complaint):
        with pytest.raises(UserError, match=complaint):
            detector_config(self.BACKBONE, CATEGORIES, **fields)

    def test_categories(self):
        with pytest.raises(UserError, match="at least one category"):
            detector_config(self.BACKBONE, ())
        with pytest.raises(UserError, match="two categories are named 'cup'"):
            detector_config(self.BACKBONE, (Category(1, "cup"), Category(2, "cup")))


class TestCost:
    """Against the classifier's own cost, and against arithmetic on paper."""

    def test_the_papers_layout(self):
        net = create("shufflenet_x1_0_g3", num_classes=1)
        detector = build_detector(detector_config(net.spec, CATEGORIES, short_side=224))
        counted = detector_cost(detector)
        stages = {}
        for layer in cost(net).layers:
            stage = layer.name.split(".")[0]
            stages[stage] = stages.get(stage, 0) + layer.multiply_adds
        assert counted.size == (224, 224)
        assert counted.backbone == stages["stem"] + stages["stage2"] + stages["stage3"]
        # A 14×14 map is what stage 4 has in the classifier; then the scores of 3 classes and 4 box numbers each.
        assert counted.head_per_region == stages["stage4"] + 960 * (3 + 4 * 3)
        assert counted.head == 300 * counted.head_per_region
        anchors = 4 * 3
        assert counted.rpn == 14 * 14 * 480 * (9 * 480 + anchors + 4 * anchors)
        assert counted.multiply_adds == counted.backbone + counted.rpn + counted.head
        assert counted.parameters == sum(parameter.numel() for parameter in detector.parameters())

    def test_a_pyramid(self, make_detector):
        detector = make_detector(layout="fpn")
        counted = detector_cost(detector, (64, 64))
        with FlopCounterMode(display=False) as counter:
            detector.backbone(torch.zeros(1, 3, 64, 64))
        assert (counted.backbone + counted.neck) * 2 == counter.get_total_flops()
        assert counted.head_per_region == 4 * 4 * 32 * 64 + 64 * 64 + 64 * (3 + 4 * 3)

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((480, 640), (608, 800)), ((640, 480), (800, 608)), ((300, 900), (352, 1024)), ((1, 1), (608, 608))],
    )
    def test_the_size_it_works_at(self, make_detector, size, expected):
        detector = make_detector(short_side=600, long_side=1000)
        assert resized(detector.config, size) == expected
        images, _ = detector.transform([torch.zeros(3, *size)])
        assert tuple(images.tensors.shape[2:]) == expected


def test_resizing_is_exact_and_moves_the_boxes(make_detector):
    """128/97 × 97 is below 128 in single precision: torchvision's export and its Python disagree there."""
    transform = make_detector(short_side=128, long_side=213).transform
    for size in ((97, 150), (150, 97), (90, 333), (61, 61)):
        boxes = torch.tensor([[0.0, 0.0, size[1], size[0]]])
        images, targets = transform([torch.zeros(3, *size)], [{"boxes": boxes}])
        (height, width) = images.image_sizes[0]
        scale = min(128 / min(size), 213 / max(size))
        np.testing.assert_array_less(np.abs(np.array((height, width)) - np.array(size) * scale), 1)
        assert min(height, width) == 128 or max(height, width) == 213
        torch.testing.assert_close(targets[0]["boxes"], torch.tensor([[0.0, 0.0, width, height]]))


def test_what_was_seen_first_does_not_matter(make_detector):
    """torchvision's RoIAlign concludes its strides from the first picture, of which padding may be the most."""
    picture = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))
    fresh, other = make_detector(), make_detector()
    with torch.inference_mode():
        other([torch.rand(3, 6, 96)])
        (expected,), (found,) = fresh([picture]), other([picture])
    assert len(expected["scores"]) > 0
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values)


@pytest.mark.parametrize("size", [(1, 500), (700, 1), (1, 1)])
def test_pictures_far_longer_than_wide(make_detector, size):
    with torch.inference_mode():
        (found,) = make_detector()([torch.rand(3, *size)])
    assert torch.isfinite(found["boxes"]).all()
