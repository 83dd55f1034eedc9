"""The paper's tables as printed (arXiv 1707.01083 v2, as at CVPR 2018), and nothing else.

Errors are ImageNet's top-1 in %, complexities millions of multiply-adds, times milliseconds; None where the paper prints a dash. Labels are
the paper's; `variant` is the name here of the network that the row is about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class PrintedColumn:
    """A column of Table 1: the network with `groups` groups, and what it costs."""

    groups: int
    stage_channels: tuple[int, int, int]
    multiply_adds: int


@dataclass(frozen=True)
class PrintedRow:
    """A network with its complexity and error, as Tables 2 and 4 to 6 print them."""

    label: str
    variant: str
    multiply_adds: int
    error: float | None


@dataclass(frozen=True)
class PrintedShuffle:
    """A row of Table 3. `variant` is the network with shuffle; without it, its name ends in `_noshuffle`."""

    label: str
    variant: str
    error_without: float
    error_with: float
    difference: float


@dataclass(frozen=True)
class PrintedDetection:
    """A row of Table 7: COCO's mAP[.5:.95] in %, with pictures whose short side is 300 and 600 pixels."""

    label: str
    variant: str
    map_by_short_side: dict[int, float]


@dataclass(frozen=True)
class PrintedSpeed:
    """A row of Table 8: milliseconds by (height, width) on one thread of a Snapdragon 820."""

    label: str
    variant: str
    error: float
    multiply_adds: int
    milliseconds: dict[tuple[int, int], float]


TITLES = {
    1: "ShuffleNet architecture",
    2: "Classification error by number of groups",
    3: "ShuffleNet with and without channel shuffle",
    4: "Classification error of unit structures at equal complexity",
    5: "ShuffleNet against MobileNet",
    6: "Complexity at comparable error",
    7: "Object detection on COCO",
    8: "Actual inference time on a mobile device",
}

TABLE1 = (
    PrintedColumn(1, (144, 288, 576), 143),
    PrintedColumn(2, (200, 400, 800), 140),
    PrintedColumn(3, (240, 480, 960), 137),
    PrintedColumn(4, (272, 544, 1088), 133),
    PrintedColumn(8, (384, 768, 1536), 137),
)


def _by_groups(scale: str, variant: str, multiply_adds: int, errors: dict[int, float]) -> tuple[PrintedRow, ...]:
    return tuple(
        PrintedRow(f"ShuffleNet {scale} (g = {groups})", f"{variant}_g{groups}", multiply_adds, error)
        for groups, error in errors.items()
    )


# Blocks of rows, with the complexity that the paper gives for the whole block.
TABLE2 = (
    _by_groups("1×", "shufflenet_x1_0", 140, {1: 33.6, 2: 32.7, 3: 32.6, 4: 32.8, 8: 32.4}),
    _by_groups("0.5×", "shufflenet_x0_5", 38, {1: 45.1, 2: 44.4, 3: 43.2, 4: 41.6, 8: 42.3}),
    _by_groups("0.25×", "shufflenet_x0_25", 13, {1: 57.1, 2: 56.8, 3: 55.0, 4: 54.2, 8: 52.7}),
)

TABLE3 = (
    PrintedShuffle("ShuffleNet 1× (g = 3)", "shufflenet_x1_0_g3", 34.5, 32.6, 1.9),
    PrintedShuffle("ShuffleNet 1× (g = 8)", "shufflenet_x1_0_g8", 37.6, 32.4, 5.2),
    PrintedShuffle("ShuffleNet 0.5× (g = 3)", "shufflenet_x0_5_g3", 45.7, 43.2, 2.5),
    PrintedShuffle("ShuffleNet 0.5× (g = 8)", "shufflenet_x0_5_g8", 48.1, 42.3, 5.8),
    PrintedShuffle("ShuffleNet 0.25× (g = 3)", "shufflenet_x0_25_g3", 56.3, 55.0, 1.3),
    PrintedShuffle("ShuffleNet 0.25× (g = 8)", "shufflenet_x0_25_g8", 56.5, 52.7, 3.8),
)

TABLE4 = (
    (
        PrintedRow("VGG-like", "vgg_like_140m", 140, 50.7),
        PrintedRow("ResNet", "resnet_like_140m", 140, 37.3),
        PrintedRow("Xception-like", "xception_like_140m", 140, 33.6),
        PrintedRow("ResNeXt", "resnext_like_140m", 140, 33.3),
        PrintedRow("ShuffleNet (ours), 1×, g = 8", "shufflenet_x1_0_g8", 140, 32.4),
    ),
    (
        PrintedRow("VGG-like", "vgg_like_38m", 38, None),
        PrintedRow("ResNet", "resnet_like_38m", 38, 48.8),
        PrintedRow("Xception-like", "xception_like_38m", 38, 45.1),
        PrintedRow("ResNeXt", "resnext_like_38m", 38, 46.0),
        PrintedRow("ShuffleNet (ours), 0.5×, g = 4", "shufflenet_x0_5_g4", 38, 41.6),
    ),
    (
        PrintedRow("ResNet", "resnet_like_13m", 13, 63.7),
        PrintedRow("Xception-like", "xception_like_13m", 13, 57.1),
        PrintedRow("ResNeXt", "resnext_like_13m", 13, 65.2),
        PrintedRow("ShuffleNet (ours), 0.25×, g = 8", "shufflenet_x0_25_g8", 13, 52.7),
    ),
)

TABLE5 = (
    (
        PrintedRow("1.0 MobileNet-224", "mobilenet_x1_0", 569, 29.4),
        PrintedRow("ShuffleNet 2× (g = 3)", "shufflenet_x2_0_g3", 524, 26.3),
        PrintedRow("ShuffleNet 2× (with SE, g = 3)", "shufflenet_x2_0_g3_se", 527, 24.7),
    ),
    (
        PrintedRow("0.75 MobileNet-224", "mobilenet_x0_75", 325, 31.6),
        PrintedRow("ShuffleNet 1.5× (g = 3)", "shufflenet_x1_5_g3", 292, 28.5),
    ),
    (
        PrintedRow("0.5 MobileNet-224", "mobilenet_x0_5", 149, 36.3),
        PrintedRow("ShuffleNet 1× (g = 8)", "shufflenet_x1_0_g8", 140, 32.4),
    ),
    (
        PrintedRow("0.25 MobileNet-224", "mobilenet_x0_25", 41, 49.4),
        PrintedRow("ShuffleNet 0.5× (g = 4)", "shufflenet_x0_5_g4", 38, 41.6),
        PrintedRow("ShuffleNet 0.5× (shallow, g = 3)", "shufflenet_x0_5_g3_shallow", 40, 42.8),
    ),
)

TABLE6 = (
    (
        PrintedRow("VGG-16", "vgg16", 15300, 28.5),
        PrintedRow("ShuffleNet 2× (g = 3)", "shufflenet_x2_0_g3", 524, 26.3),
    ),
    (
        PrintedRow("GoogLeNet", "googlenet", 1500, 31.3),
        PrintedRow("ShuffleNet 1× (g = 8)", "shufflenet_x1_0_g8", 140, 32.4),
    ),
    (
        PrintedRow("AlexNet", "alexnet", 720, 42.8),
        PrintedRow("SqueezeNet", "squeezenet", 833, 42.5),
        PrintedRow("ShuffleNet 0.5× (g = 4)", "shufflenet_x0_5_g4", 38, 41.6),
    ),
)
# Section 4.3 names one more network, in the text only.
PVANET = PrintedRow("PVANET (in the text)", "pvanet", 557, 29.7)

AVERAGE_PRECISION = "mAP[.5:.95] %"
SHORT_SIDES = (300, 600)
TABLE7 = (
    PrintedDetection("ShuffleNet 2× (g = 3)", "shufflenet_x2_0_g3", {300: 18.7, 600: 25.0}),
    PrintedDetection("ShuffleNet 1× (g = 3)", "shufflenet_x1_0_g3", {300: 14.5, 600: 19.8}),
    PrintedDetection("1.0 MobileNet-224 of arXiv 1704.04861", "mobilenet_x1_0", {300: 16.4, 600: 19.8}),
    PrintedDetection("1.0 MobileNet-224, the authors' own", "mobilenet_x1_0", {300: 14.9, 600: 19.3}),
)

SIZES = ((224, 224), (480, 640), (720, 1280))


def _speed(label: str, variant: str, error: float, multiply_adds: int, *milliseconds: float) -> PrintedSpeed:
    return PrintedSpeed(label, variant, error, multiply_adds, dict(zip(SIZES, milliseconds, strict=True)))


TABLE8 = (
    _speed("ShuffleNet 0.5× (g = 3)", "shufflenet_x0_5_g3", 43.2, 38, 15.2, 87.4, 260.1),
    _speed("ShuffleNet 1× (g = 3)", "shufflenet_x1_0_g3", 32.6, 140, 37.8, 222.2, 684.5),
    _speed("ShuffleNet 2× (g = 3)", "shufflenet_x2_0_g3", 26.3, 524, 108.8, 617.0, 1857.6),
    _speed("AlexNet", "alexnet", 42.8, 720, 184.0, 1156.7, 3633.9),
    _speed("1.0 MobileNet-224", "mobilenet_x1_0", 29.4, 569, 110.0, 612.0, 1879.2),
)

# Tables whose rows are networks with a complexity and an error, in blocks.
BLOCKS = {2: TABLE2, 4: TABLE4, 5: TABLE5, 6: TABLE6}

# Why a network here costs something else than the paper prints.
NOTES = {
    "googlenet": "the paper's 1500M is BVLC's GoogLeNet: 1583M with 5×5 convolutions, where torchvision's has 3×3",
    "pvanet": "section 4.3's text says 557M and names no classifier: with an average pool it is 515M, with PVANET's own two "
    "4096-wide layers 613M",
}


@dataclass(frozen=True)
class Printed:
    """All that the paper prints of one network: millions of multiply-adds, top-1 error in %, and the tables that it stands in."""

    multiply_adds: float | None = None
    error: float | None = None
    tables: tuple[int, ...] = ()


@cache
def printed(variant: str) -> Printed:
    """What the paper prints of a network. Table 1's complexity is its own; the other tables round 1× to a class of 140M."""
    found = [(number, figures) for number, name, *figures in _everything() if name == variant]
    return Printed(
        next((multiply_adds for _, (multiply_adds, _) in found if multiply_adds is not None), None),
        next((error for _, (_, error) in found if error is not None), None),
        tuple(sorted({number for number, _ in found if number})),
    )


def _everything() -> Iterator[tuple[int, str, float | None, float | None]]:
    """Table (0: the text), variant, complexity and error of every row, the most exact first."""
    for column in TABLE1:
        yield 1, f"shufflenet_x1_0_g{column.groups}", column.multiply_adds, None
    complexity = {f"shufflenet_x1_0_g{column.groups}": column.multiply_adds for column in TABLE1}
    for number, blocks in BLOCKS.items():
        for row in (row for block in blocks for row in block):
            complexity.setdefault(row.variant, row.multiply_adds)
            yield number, row.variant, row.multiply_adds, row.error
    for shuffle in TABLE3:
        yield 3, shuffle.variant, None, shuffle.error_with
        yield 3, f"{shuffle.variant}_noshuffle", complexity[shuffle.variant], shuffle.error_without
    for row in TABLE7:
        yield 7, row.variant, None, None
    for row in TABLE8:
        yield 8, row.variant, row.multiply_adds, row.error
    yield 0, PVANET.variant, PVANET.multiply_adds, PVANET.error
