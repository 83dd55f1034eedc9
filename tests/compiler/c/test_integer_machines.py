"""Whole networks of integers on other machines, under emulation: the bytes of torch's integers."""

import functools
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.compiler.run.build import FLAGS, write_source
from shufflenet.data import open_dataset
from shufflenet.deploy.compile import compile_source
from shufflenet.deploy.parity import untrained
from shufflenet.quantization.post_training import CalibrationInputs

from ..machines import MACHINES
from ..native import RUN_IN_NODE

SIZE = (33, 41)
# A gate, a table, pools, a concatenation, a classifier, with each kind of unit that other machines have. `make test-long` takes them all.
NAME = "shufflenet_x0_25_g3_se"
SAMPLE = ("aarch64-dotprod", "riscv64-v", "wasm32-relaxed")


@pytest.fixture(scope="module")
def networks():
    """By name: the C source, an input beyond the ranges in places, and torch's logits."""
    pictures = open_dataset("fashion-mnist-7k", "train")

    def make(name):
        net = untrained(name, SIZE)
        net.metadata = Metadata(Preprocessing(SIZE, short_side=None))
        quantized = shufflenet.quantize(net, pictures, pictures=8)
        x = next(iter(CalibrationInputs(pictures, net, 1, seed=1)))
        x[:, :, ::3] *= torch.linspace(-6, 6, SIZE[1])
        with torch.inference_mode():
            return compile_source(quantized, SIZE, name="net").source, x.numpy(), quantized(x).numpy()

    return functools.cache(make)


def main_program(inputs: np.ndarray, results: int) -> str:
    """Prints the bits of what the network makes of `inputs`, which stand in it as bits too."""
    bits = ", ".join(f"{word}u" for word in inputs.astype(np.float32).reshape(-1).view(np.uint32))
    return f"""#include "net.h"
#include <stdio.h>
#include <string.h>
static const unsigned bits[] = {{{bits}}};
static float input[sizeof bits / 4], output[{results}];
static _Alignas(64) unsigned char arena[NET_ARENA_BYTES];
int main(void) {{
  memcpy(input, bits, sizeof bits);
  net_run(input, output, arena);
  unsigned words[{results}];
  memcpy(words, output, sizeof words);
  for (int i = 0; i < {results}; i++) printf("%u\\n", words[i]);
}}
"""


def check(made, machine, folder) -> None:
    source, inputs, expected = made
    flags, runner = MACHINES[machine]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    write_source(source, folder)
    (folder / "main.c").write_text(main_program(inputs, expected.size))
    (folder / "run.mjs").write_text(RUN_IN_NODE)
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-O1", *flags, "main.c", "net.c", "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    program = (*runner, "main") if runner[:1] == ("node",) else (*runner, "./main")
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), np.uint32).view(np.float32)
    np.testing.assert_array_equal(found, expected.reshape(-1))


@pytest.mark.parametrize("machine", SAMPLE)
def test_a_network_gives_the_bytes_of_torch(machine, networks, tmp_path):
    check(networks(NAME), machine, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name", [NAME, "shufflenet_x0_25_g8", "shufflenet_x0_5_g3", "resnet_like_13m", "mobilenet_x0_25"]
)
def test_networks_give_the_bytes_of_torch_everywhere(name, machine, networks, tmp_path):
    check(networks(name), machine, tmp_path)
