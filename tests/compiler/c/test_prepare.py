"""NAME_prepare against the evaluation pipeline itself: Pillow and torchvision, any size of picture."""

import ctypes
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.compiler import CompileError, Pixels
from shufflenet.compiler.c.prepare import with_preparation
from shufflenet.compiler.c.source import Preparation
from shufflenet.compiler.run.build import build
from shufflenet.data.pictures import open_picture
from shufflenet.data.transforms import evaluation_transform
from shufflenet.deploy.compile import compile_source, preparation_of
from shufflenet.errors import UserError

CASES = {
    "imagenet": Preprocessing(size=(32, 40), short_side=48),
    "cubic": Preprocessing(size=(30, 30), short_side=34, interpolation="bicubic"),
    "bgr": Preprocessing(size=(31, 29), short_side=33, channel_order="BGR"),
    "grey": Preprocessing(size=(28, 28), short_side=None, mean=(0.286,), std=(0.353,), channel_order="grey"),
}


def compiled(preprocessing):
    torch.manual_seed(0)
    net = shufflenet.create("shufflenet_x0_25_g3", num_classes=3, in_channels=preprocessing.channels, stem="small")
    net.metadata = Metadata(preprocessing)
    return compile_source(net.eval(), name="tiny").source


@pytest.fixture(scope="module")
def prepare():
    """Preprocessing, uint8 picture [h, w, 3 or 4] → the network's input, computed in C."""
    libraries = {}

    def run(preprocessing, picture):
        if preprocessing not in libraries:
            source = with_preparation(compiled(preprocessing), preparation_of(preprocessing))
            libraries[preprocessing] = ctypes.CDLL(str(build(source)))
        library = libraries[preprocessing]
        library.tiny_prepare_bytes.restype = ctypes.c_size_t
        height, width, channels = picture.shape
        scratch = np.full(library.tiny_prepare_bytes(height, width) + 64, 0xA5, np.uint8)
        rows = np.full((height, width * channels + 5), 77, np.uint8)  # rows lie apart
        rows[:, : width * channels] = picture.reshape(height, -1)
        result = np.full((preprocessing.channels, *preprocessing.size), np.nan, np.float32)
        library.tiny_prepare(
            rows.ctypes, ctypes.c_ssize_t(rows.strides[0]), channels, height, width, result.ctypes,
            ctypes.c_void_p(scratch.ctypes.data + 1),
        )  # fmt: skip
        assert (scratch[-63:] == 0xA5).all()
        return result

    return run


def as_file(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def grey_levels(preprocessing, ours, expected):
    """How far apart two inputs are, in steps of a byte."""
    std = np.array(preprocessing.std)[:, None, None]
    return np.abs(ours - expected) * std * 255


def expected(preprocessing, picture):
    return evaluation_transform(preprocessing)(open_picture(as_file(picture))).numpy()


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    channels=st.sampled_from([3, 4]),
    seed=st.integers(0, 2**16),
)
def test_equals_the_evaluation_pipeline(prepare, case, height, width, channels, seed):
    preprocessing = CASES[case]
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    apart = grey_levels(preprocessing, prepare(preprocessing, picture), expected(preprocessing, picture))
    assert apart.max() <= 1.001


def test_equals_it_for_a_large_picture(prepare):
    preprocessing = CASES["imagenet"]
    picture = np.random.default_rng(0).integers(0, 256, (1500, 2100, 3), dtype=np.uint8)
    assert grey_levels(preprocessing, prepare(preprocessing, picture), expected(preprocessing, picture)).max() <= 1.001


def test_without_antialias_it_is_plain_bilinear():
    preprocessing = CASES["imagenet"]
    preparation = Preparation(Pixels((0, 1, 2), (1.0,) * 3, (0.0,) * 3), None, antialias=False)
    library = ctypes.CDLL(str(build(with_preparation(compiled(preprocessing), preparation))))
    picture = np.random.default_rng(1).integers(0, 256, (101, 77, 3), dtype=np.uint8)
    library.tiny_prepare_bytes.restype = ctypes.c_size_t
    scratch = np.zeros(library.tiny_prepare_bytes(101, 77), np.uint8)
    found = np.zeros((3, 32, 40), np.float32)
    stride = ctypes.c_ssize_t(3 * 77)
    library.tiny_prepare(picture.ctypes, stride, 3, 101, 77, found.ctypes, scratch.ctypes)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(picture).permute(2, 0, 1)[None].float(), (32, 40), mode="bilinear"
    )[0]
    assert np.abs(found - wanted.numpy()).max() <= 1


def test_a_network_of_other_channels_is_refused():
    with pytest.raises(CompileError, match="pictures of 1 channels do not fit"):
        with_preparation(compiled(CASES["imagenet"]), preparation_of(CASES["grey"]))


def test_an_interpolation_that_c_has_not_is_refused():
    with pytest.raises(UserError, match="lanczos interpolation; in C there are bilinear and bicubic only"):
        preparation_of(Preprocessing(interpolation="lanczos"))
