"""The whole of `shufflenet quantize`: calibrate, fine-tune if asked to, test beside the float32 network, save."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from shufflenet import checkpoints
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.data import PictureDataset
from shufflenet.errors import UserError
from shufflenet.nets import Network
from shufflenet.quantization.aware import aware_recipe, fine_tune
from shufflenet.quantization.method import USUAL, Method
from shufflenet.quantization.noise import layer_noise
from shufflenet.quantization.post_training import CalibrationInputs, calibrated
from shufflenet.training import Evaluation, evaluate
from shufflenet.training.recipe import to_dict

NOISE_PICTURES = 128


def quantize_and_test(
    net: Network,
    training_set: PictureDataset,
    test_set: PictureDataset,
    folder: Path,
    *,
    method: Method = USUAL,
    aware: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    console: Console | None = None,
) -> dict[str, Any] | None:
    """Quantize `net`, save it in `folder`, and return what became of it, JSON-ready; None if fine-tuning was told to stop.

    The record has errors, in %, and bytes of "float32", "post_training" and, with `aware` (changed fields of its recipe), "aware"; and
    the noise of all "layers", the worst first. config.json keeps it under training.quantization. Raises UserError as `quantize`,
    `evaluate` and `save` do.
    """
    refuse_full_folder(folder, overwrite=overwrite or resume)
    say = console.print if console else lambda _: None
    learning = calibrated(net, training_set, method, workers)
    trained = metadata_of(net).training
    record = method.record(len(training_set))
    say("testing the float32 network")
    record["float32"] = _figures(evaluate(net, test_set, workers=workers), net)
    say("testing the network of integers")
    quantized = learning.integers()
    record["post_training"] = _figures(evaluate(quantized, test_set, workers=workers), quantized)
    noise = layer_noise(learning, CalibrationInputs(training_set, net, min(method.pictures, NOISE_PICTURES)))
    if aware is not None:
        recipe = aware_recipe(net, aware)
        run = fine_tune(learning, recipe, training_set, test_set, folder, teacher=net, resume=resume, console=console)
        if not run.finished:
            return None
        quantized = run.net.integers()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        record["recipe"] = to_dict(recipe)
        record["aware"] = _figures(evaluate(quantized, test_set, workers=workers), quantized)
    record["layers"] = [asdict(row) for row in noise]
    best = record.get("aware", record["post_training"])
    errors = {name: best[name] for name in ("top1_error", "top5_error", "loss")}
    kept = {**trained, **errors, "quantization": {name: row for name, row in record.items() if name != "layers"}}
    quantized.metadata = replace(metadata_of(quantized), training=kept)
    checkpoints.save(quantized, folder, overwrite=overwrite or aware is not None)
    return record


def _figures(evaluation: Evaluation, net: Network) -> dict[str, Any]:
    return {
        "top1_error": evaluation.top1_error,
        "top5_error": evaluation.top5_error,
        "loss": evaluation.loss,
        "test_pictures": evaluation.pictures,
        "bytes": stored_bytes(net),
    }


def refuse_full_folder(folder: Path, *, overwrite: bool) -> None:
    """Raises UserError for a folder that holds something."""
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError(f"{folder} is not empty; choose another folder, or overwrite it on purpose (--overwrite)")


def stored_bytes(net: nn.Module) -> int:
    """Of all its tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
