"""`shufflenet detect train DATA -o FOLDER`: a detector from annotated pictures."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shufflenet.cli.detect.options import Data, Json, PicturesFolder

NOTES_SHOWN = 20


def train(
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")],
    variant: Annotated[
        str | None, typer.Option(help="The backbone (see `shufflenet list`), with random weights; or give --from.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--from", help="A trained classifier to start from, or a detector to train on: its folder, or a Hub id."
        ),
    ] = None,
    layout: Annotated[
        Literal["paper", "fpn", "ssdlite"] | None,
        typer.Option(
            help="paper (the default): stage 3 for RPN and regions, stage 4 on each region; fpn: a feature pyramid; "
            "ssdlite: one stage, for small devices."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="ssdlite: height × width that pictures are resized to, such as 320x416. Default: 320x320."),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(help="paper and fpn: pictures are resized to this short side, 300 or 600 in the paper."),
    ] = None,
    detector_settings: Annotated[
        list[str] | None,
        typer.Option("--detector", help="field=value of the detector's config, such as anchor_scale=0.5; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="finetune, scratch or a YAML file. Default: finetune with --from, else scratch.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value of the recipe, such as batch_size=8; repeatable.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="The annotations to evaluate on, where DATA is a file.")] = None,
    pictures: PicturesFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the folder's last checkpoint.")] = False,
    json: Json = False,
) -> None:
    """Train a detector on COCO's folders as downloaded, or on any annotations in COCO's format.

    COCO of 2014 is split as in the paper: train and val less the 5,000 minival images, which are the test set; COCO of 2017 is that
    split. Layout ssdlite takes its anchors from the training boxes. A detector that is trained on keeps its layout, sizes and anchors.

    Examples:

      shufflenet detect train cells --variant shufflenet_x0_5_g3 --layout ssdlite --size 320x416 -o runs/cells

      shufflenet detect train train.json --test test.json --from user/repo --layout fpn -o runs/mine

      shufflenet detect train /data/coco --from runs/imagenet_1x --short-side 300 -o runs/coco300

      shufflenet detect train more_cells --from runs/cells -o runs/more_cells

      accelerate launch -m shufflenet detect train /data/coco --from runs/imagenet_1x -o runs/coco600
    """
    import torch
    from accelerate import PartialState

    from shufflenet.cli.detect.scores import print_scores
    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import console, print_json, say
    from shufflenet.deploy.resolve import resolve_trained
    from shufflenet.detection import detector_cost, detector_for, open_split, recipes_for, train_detector
    from shufflenet.detection.coco import dataset_name
    from shufflenet.detection.folder import is_detector, load_detector
    from shufflenet.detection.quantized import QuantizedDetector
    from shufflenet.detection.recipe import DetectionRecipe
    from shufflenet.errors import UserError
    from shufflenet.nets import create
    from shufflenet.training.recipe import merge, parse_setting, read_recipe

    if (variant is None) == (weights is None):
        raise UserError("give one of --variant (random weights) and --from (a trained classifier or detector)")
    if data.is_file() and test is None:
        raise UserError(f"{data} is one split; name the annotations to evaluate on with --test")
    trained_before = load_detector(weights) if weights and is_detector(weights) else None
    if isinstance(trained_before, QuantizedDetector):
        raise UserError(
            f"{weights} is int8; train on the float32 detector that it was made of, and quantize that again"
        )
    if trained_before and (layout or size or short_side or detector_settings):
        raise UserError(
            f"{weights} is a detector, which keeps its layout, sizes and anchors; leave out --layout, --size, --short-side and --detector"
        )
    layout = trained_before.config.layout if trained_before else layout or "paper"
    overrides = merge(*map(parse_setting, settings or ()))
    chosen = read_recipe(recipe or ("finetune" if weights else "scratch"), overrides, recipes_for(layout))
    assert isinstance(chosen, DetectionRecipe)
    fields: dict[str, Any] = merge(*map(parse_setting, detector_settings or ()))
    if trained_before:
        pass
    elif layout == "ssdlite":
        if short_side is not None:
            raise UserError("--short-side is for the layouts paper and fpn; ssdlite has one size for all: --size")
        fields = {"size": parse_size(size or "320x320"), **fields}
    else:
        if size is not None:
            raise UserError(f"--size is for the layout ssdlite; {layout} keeps a picture's shape: --short-side")
        fields = {"short_side": 600 if short_side is None else short_side, **fields}
    training_set = open_split(data, "train", pictures)
    test_set = open_split(test or data, "test", pictures)
    torch.manual_seed(chosen.seed)
    if trained_before:
        detector = trained_before
    else:
        classifier = resolve_trained(weights) if weights else create(variant or "")
        detector = detector_for(classifier, training_set, layout=layout, trained=weights is not None, **fields)
    if PartialState().is_main_process and not json:
        for note in training_set.notes[:NOTES_SHOWN]:
            say(note)
        if len(training_set.notes) > NOTES_SHOWN:
            say(f"and {len(training_set.notes) - NOTES_SHOWN} more")
        cost = detector_cost(detector)
        parts = {"backbone": cost.backbone, "neck": cost.neck, "RPN": cost.rpn, "head": cost.head}
        listed = ", ".join(f"{name} {value / 1e6:.1f}M" for name, value in parts.items() if value)
        height, width = cost.size
        say(f"{cost.multiply_adds / 1e6:.1f}M multiply-adds at {height}×{width}: {listed}")
    training = train_detector(
        detector,
        chosen,
        training_set,
        test_set,
        output,
        dataset=dataset_name(data, training_set.categories),
        resume=resume,
        console=None if json else console(),
    )
    if not PartialState().is_main_process:
        return
    if training.scores is None:
        say(f"stopped, with a checkpoint in {output}; the same command with --resume goes on", stderr=json)
    elif json:
        print_json(training.record)
    else:
        print_scores(training.scores)
        say(f"{output}: the detector; {output / 'best'}: the best of its evaluations")
