"""What half precision costs: outputs of every variant, and errors on Fashion-MNIST's test pictures.

    python experiments/half_precision.py variants
    python experiments/half_precision.py fashion-mnist

`variants` holds each network of `shufflenet list`, with weights and statistics at random, against itself in float32: in the arithmetic that
graph/reference.py states, on one picture of noise. `fashion-mnist` counts the errors of the shipped network, compiled for this machine with
float16 weights and in float16, on all 10,000 test pictures, beside float32's. Results go to experiments/results/half_precision.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import shufflenet
from shufflenet import nets
from shufflenet.atomic import write_text
from shufflenet.compiler.graph.elements import NumberType
from shufflenet.compiler.graph.rounding import measure_rounding
from shufflenet.compiler.read import read_onnx
from shufflenet.compiler.simplify import simplify
from shufflenet.compiler.simplify.halve import halve
from shufflenet.data import open_dataset, prepare
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx

RESULTS = Path(__file__).parent / "results" / "half_precision.json"
SHIPPED = "fashion-mnist/shufflenet_x0_5_g3"
KINDS: dict[str, tuple[NumberType, NumberType]] = {
    "float32": ("float32", "float32"),
    "float16 weights": ("float32", "float16"),
    "float16": ("float16", "float16"),
}


def random_network(name: str) -> torch.nn.Module:
    """With weights and statistics at random, so that no normalisation is the identity; activations keep their size."""
    torch.manual_seed(0)
    net = nets.create(name).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def variant_difference(name: str) -> float:
    """The largest difference of an output, over the largest output."""
    size = nets.variants()[name].size
    graph = simplify(read_onnx(to_onnx(Exportable(random_network(name), size)), size))
    picture = np.random.default_rng(0).standard_normal(graph.inputs[0].shape, np.float32)
    halved = halve(graph, tensors=True)
    return measure_rounding(graph, halved, [{graph.inputs[0].name: picture}]).largest_difference


def fashion_mnist() -> dict[str, dict[str, float]]:
    """Errors in per cent, by what the network computes with and stores; and how many pictures it says otherwise of than float32."""
    net = shufflenet.load(SHIPPED)
    inputs = prepare(open_dataset("fashion-mnist", "test"), net.metadata.preprocessing)
    pictures = np.stack([inputs[i][0].numpy() for i in range(len(inputs))])
    labels = np.array([int(inputs[i][1]) for i in range(len(inputs))])
    found = {
        kind: shufflenet.compile(net, element=element, weights=weights)(pictures)
        for kind, (element, weights) in KINDS.items()
    }
    exact = found["float32"]
    return {
        kind: {
            "pictures": len(labels),
            "top1_error": float((outputs.argmax(1) != labels).mean() * 100),
            "other_class_than_float32": int((outputs.argmax(1) != exact.argmax(1)).sum()),
            "largest_difference": float((np.abs(outputs - exact).max(1) / np.abs(exact).max(1)).max()),
        }
        for kind, outputs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("variants", "fashion-mnist"))
    options = parser.parse_args()
    if options.what == "fashion-mnist":
        found = {SHIPPED: fashion_mnist()}
        print(json.dumps(found, indent=2))
    else:
        found = {"variants": {}}
        for name in nets.variants():
            start = time.monotonic()
            found["variants"][name] = variant_difference(name)
            print(f"{name:36} {found['variants'][name]:.1e}  {time.monotonic() - start:.0f} s", flush=True)
        print(f"largest {max(found['variants'].values()):.1e}")
    record = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    write_text(RESULTS, json.dumps({**record, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
