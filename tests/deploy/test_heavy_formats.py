"""The formats whose converters weigh gigabytes: `make test-export` installs them in an environment of their own and runs these."""

import importlib
import json
from collections import Counter
from importlib import metadata as packages

import numpy as np
import pytest

from shufflenet.deploy.export import export
from shufflenet.deploy.parity import compare, sample_inputs
from shufflenet.deploy.runtimes import FORMATS
from shufflenet.deploy.source import Source
from shufflenet.deploy.worker import start

pytestmark = pytest.mark.heavy_export
SIZE = (64, 64)
NETWORKS = ("shufflenet_x1_0_g3", "shufflenet_x0_25_g8", "shufflenet_x0_5_g3_se", "xception_like_13m", "mobilenet_x0_5")


def installed():
    importlib.invalidate_caches()
    return sorted((package.name, package.version) for package in packages.distributions())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("format", ["litert", "executorch"])
def test_an_export_equals_torch_in_its_runtime(network, tmp_path, name, format):
    before = installed()
    done = export(Source(network(name), SIZE), format, tmp_path)
    assert done.parity.max_relative_difference < 1e-4
    assert done.parity.top1_agreement == 1
    assert json.loads(done.record.read_text())["bytes"] == done.files[0].stat().st_size
    assert installed() == before


@pytest.mark.parametrize("format", ["litert", "executorch"])
def test_pictures_in_probabilities_out(network, tmp_path, format):
    source = Source(network("shufflenet_x0_25_g8"), SIZE, with_preprocessing=True)
    done = export(source, format, tmp_path)
    pictures = sample_inputs(source, 2)
    assert pictures.dtype == np.uint8
    with start(FORMATS[format], done.files[0], pictures) as worker:
        np.testing.assert_allclose(worker.outputs.sum(axis=1), 1, rtol=1e-5)
        assert compare(worker.outputs, source.run(pictures)).max_relative_difference < 1e-4


def test_litert_transposes_once_a_shuffle_and_never_in_rank_5(network, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    done = export(Source(network("shufflenet_x0_25_g8"), SIZE), "litert", tmp_path)
    interpreter = Interpreter(str(done.files[0]))
    interpreter.allocate_tensors()
    ranks = {tensor["index"]: len(tensor["shape"]) for tensor in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    transposes = [op for op in operators if op["op_name"] == "TRANSPOSE"]
    assert Counter(ranks[op["outputs"][0]] for op in transposes) == {
        4: 16 + 2
    }  # and the input's layout, and the classifier's
    assert max(ranks[index] for op in operators for index in op["outputs"]) == 4
