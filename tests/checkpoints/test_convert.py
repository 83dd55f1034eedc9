"""What convert refuses, each in one sentence that names the thing."""

import pickle

import numpy as np
import pytest
import torch

import shufflenet
from shufflenet.errors import UserError


class Runs:
    """A pickle that would run code when opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def refused(*arguments, match):
    with pytest.raises(UserError, match=match) as raised:
        shufflenet.convert(*arguments)
    assert "\n" not in str(raised.value)


def test_pickle_that_wants_more_than_tensors_is_not_opened(tmp_path):
    for name, write in (
        ("new.pth", torch.save),
        ("old.pkl", lambda value, path: path.write_bytes(pickle.dumps(value))),
    ):
        write({"state_dict": Runs(tmp_path / "witness")}, tmp_path / name)
        refused(tmp_path / name, "megvii", "shufflenet_x1_0_g3", match="no checkpoint of tensors only")
    assert not (tmp_path / "witness").exists()


def test_damaged_file(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"output.weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:1000])
    refused(path, "pytorchcv", "shufflenet_g1_w1", match=r"weights\.pth is damaged")
    path.write_text("hello\n")
    refused(path, "pytorchcv", "shufflenet_g1_w1", match=r"weights\.pth is")
    arrays = tmp_path / "model.npz"
    np.savez(arrays, a=np.array([{}], dtype=object))
    refused(arrays, "tensorpack", "shufflenet_x0_5_g8", match=r"model\.npz cannot be read as arrays")
    arrays.write_bytes(b"PK\x03\x04")
    refused(arrays, "tensorpack", "shufflenet_x0_5_g8", match=r"model\.npz cannot be read as arrays")
    refused(tmp_path / "nowhere.pth", "megvii", "shufflenet_x1_0_g3", match="there is no file .*nowhere")


def test_what_is_no_state_dict(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([1, 2], path)
    refused(path, "megvii", "shufflenet_x1_0_g3", match="holds a list, not a state dict")
    refused({"epoch": 3}, "megvii", "shufflenet_x1_0_g3", match="'epoch' is a int, not a tensor")
    refused({"a": torch.zeros(1)}, "megvii", "shufflenet_x1_0_g3", match=r"no first_conv\.0\.weight, as one of megvii")


def test_unknown_names():
    refused({}, "keras", "shufflenet_x1_0_g3", match="no source 'keras'; there are megvii, pytorchcv")
    refused({}, "pytorchcv", "mobilenet_w1", match="'mobilenet_w1' is no ShuffleNet of pytorchcv")
    refused({}, "megvii", "shufflenet_x0_25_g3", match="megvii has no ShuffleNet 0.25× with 3 groups")
    refused({}, "megvii", "shufflenet_x1_0_g3_noshuffle", match="no ShuffleNet of megvii")
    refused({}, "pytorchcv", "shufflenet_g5_w1", match="no ShuffleNet with 5 groups")
