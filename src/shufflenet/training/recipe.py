"""Recipes: everything that decides what training makes of a network and a data set, as frozen data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml

from shufflenet.data.transforms import MEGVII, PAPER, PAPER_SMALL_NET, SMALL_PICTURES, Augmentation
from shufflenet.errors import UserError
from shufflenet.text_files import read_text

Schedule = Literal["linear", "cosine", "constant"]
MixedPrecision = Literal["no", "bf16", "fp16"]
GroupedConvolutions = Literal["convolutions", "matrix_products"]


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the paper's (section 4). Raises UserError for values that cannot be.

    Length: `iterations`, or `epochs`; one of them is None. `batch_size` counts the pictures of an iteration over all processes and
    `accumulation` steps. `learning_rate` is meant for batches of `learning_rate_batch_size` and scales with the batch; with None
    there it is used as it is. It rises from 0 over `warmup_iterations`, then falls to 0 (`schedule`), a step each iteration.
    Weight decay applies to weights of more than one dimension, so not to biases and BN.

    For small data: `ema_decay` keeps a running average of the weights, which then is what is evaluated and saved; `mixup` and
    `cutmix` are the alphas of arXiv 1710.09412 and 1905.04899 (0: off; with both, one is drawn each iteration); `freeze` names
    modules that stay as they are ("stem", "stage2", …); `freeze_batch_norm` keeps BN's statistics.
    With a teacher, `distillation_share` of the loss is the distance to its probabilities at `distillation_temperature`
    (arXiv 1503.02531); without one both are passed over.
    `training_side_share` makes training crops smaller than the network's input: a random crop shows objects larger than the centre
    crop does, so 0.8 (128 for an input of 160) costs no accuracy and a third of the time (arXiv 1906.06423).
    For GPUs: `grouped_convolutions="matrix_products"` computes grouped 1×1 layers by one batched product each, and `cuda_graphs` records
    the whole step once and replays it; a step that cannot be recorded is refused.
    After the last iteration, `bn_reestimation_iterations` batches take BN's statistics anew at the final weights.
    """

    iterations: int | None = 300_000
    epochs: float | None = None
    batch_size: int = 1024
    accumulation: int = 1
    learning_rate: float = 0.5
    learning_rate_batch_size: int | None = 1024
    schedule: Schedule = "linear"
    warmup_iterations: int = 0
    momentum: float = 0.9
    weight_decay: float = 4e-5
    # Largest norm of all gradients together.
    gradient_clip: float | None = None
    label_smoothing: float = 0.0
    augmentation: Augmentation = PAPER
    training_side_share: float = 1.0
    # In place of `augmentation`, for networks below 1× (see `for_network`).
    small_network_augmentation: Augmentation | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    distillation_temperature: float = 4.0
    distillation_share: float = 0.5
    ema_decay: float | None = None
    freeze: tuple[str, ...] = ()
    freeze_batch_norm: bool = False
    bn_reestimation_iterations: int = 0

    # BN's statistics over the batches of all processes.
    sync_batch_norm: bool = False
    mixed_precision: MixedPrecision = "no"
    channels_last: bool = True
    # Torch.compile.
    compile: bool = False
    grouped_convolutions: GroupedConvolutions = "convolutions"
    cuda_graphs: bool = False
    # Processes that read pictures, for each training process; at most one a processor.
    workers: int = 4
    # Of the data set, past which broken pictures stop the run.
    max_broken_share: float = 0.01

    seed: int = 0
    log_iterations: int = 20
    # How often to evaluate; at the end in any case.
    evaluate_epochs: float = 1.0
    # How often to write a checkpoint; after each evaluation in any case.
    checkpoint_iterations: int = 1000
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        if (self.iterations is None) == (self.epochs is None):
            raise UserError(f"iterations is {self.iterations} and epochs {self.epochs}; set one of them")
        positive = ("iterations", "epochs", "batch_size", "accumulation", "log_iterations", "evaluate_epochs")
        for name in (
            *positive,
            "learning_rate_batch_size",
            "checkpoint_iterations",
            "keep_checkpoints",
            "gradient_clip",
            "distillation_temperature",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"{name} is {value}; it must be above 0")
        for name in (
            "learning_rate",
            "warmup_iterations",
            "weight_decay",
            "mixup",
            "cutmix",
            "bn_reestimation_iterations",
            "workers",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must not be below 0")
        if not 0 <= self.distillation_share <= 1:
            raise UserError(f"distillation_share is {self.distillation_share}; it is a share of the loss, from 0 to 1")
        if not 0 < self.training_side_share <= 1:
            raise UserError(f"training_side_share is {self.training_side_share}; it is above 0 and at most 1")
        for name in ("momentum", "label_smoothing", "ema_decay"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it is between 0 and 1")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate at the recipe's own batch: linear in the batch (arXiv 1706.02677), unless told otherwise."""
        if self.learning_rate_batch_size is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch_size


FINETUNE = Recipe(
    iterations=None,
    epochs=30,
    batch_size=64,
    learning_rate=0.05,
    learning_rate_batch_size=64,
    schedule="cosine",
    warmup_iterations=100,
    label_smoothing=0.1,
    mixup=0.1,
    cutmix=0.5,
    ema_decay=0.998,
    augmentation=PAPER_SMALL_NET,
)

# From random weights on some thousand photographs. It was written down before its only run: 2,934 pictures of flowers, 160×160,
# x0_5_g3, 85.5% top-1 after 22 minutes on 2 processor cores (docs/training.md). Little data overfits, so crops are the strong part;
# 46 iterations an epoch make an average over 500 iterations some ten epochs long.
SCRATCH = Recipe(
    iterations=None,
    epochs=110,
    batch_size=64,
    learning_rate=0.1,
    learning_rate_batch_size=64,
    schedule="cosine",
    warmup_iterations=100,
    weight_decay=5e-4,
    label_smoothing=0.1,
    ema_decay=0.998,
    augmentation=Augmentation(area=(0.25, 1.0)),
    training_side_share=0.8,
    evaluate_epochs=10,
    checkpoint_iterations=200,
)

RECIPES: dict[str, Recipe] = {
    # Section 4, and ResNeXt's settings where the paper refers to them.
    "paper": Recipe(small_network_augmentation=PAPER_SMALL_NET),
    # What the authors' later code does: smoothed labels, colour jitter, and BN's statistics taken anew at the end.
    "megvii": Recipe(label_smoothing=0.1, augmentation=MEGVII, bn_reestimation_iterations=1000),
    # Some thousand pictures, best started from a trained network.
    "finetune": FINETUNE,
    "scratch": SCRATCH,
    # The same for pictures of up to 64 pixels: shifts by a few pixels in place of crops, whole inputs, a third of the epochs.
    "scratch-small": replace(
        SCRATCH, epochs=30, augmentation=replace(SMALL_PICTURES, padding=4), training_side_share=1.0, evaluate_epochs=5
    ),
    # `shufflenet quickstart`: the bundled 6,000 pictures of 28×28, minutes on a laptop. Chosen on 5,000 of Fashion-MNIST's other
    # training pictures: 14 epochs of x0_25_g3 in batches of 64 have 11.9% error there, with shifts by two pixels 12.1%; 12 epochs in
    # batches of 32, which take as long, 13.1% with shifts by two pixels (13.0% with smoothed labels and a cosine too); 7.5 epochs 13.1%.
    "quickstart": Recipe(
        iterations=None,
        epochs=14,
        batch_size=64,
        learning_rate=0.1,
        learning_rate_batch_size=None,
        warmup_iterations=100,
        weight_decay=5e-4,
        augmentation=replace(SMALL_PICTURES, padding=1),
        workers=0,
        evaluate_epochs=7,
    ),
}


def read_recipe(
    name_or_file: str | Path, overrides: Mapping[str, Any] | None = None, recipes: Mapping[str, Recipe] = RECIPES
) -> Recipe:
    """A recipe by its name, or from a YAML file that changes fields of the one that its key `recipe` names (default: the first).

    `overrides` change fields last; `recipes` are the named ones. Raises UserError for a name, file, field or value that will not do.
    """
    if str(name_or_file) in recipes:
        return override(recipes[str(name_or_file)], overrides or {})
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"there is no recipe {str(name_or_file)!r}; take {', '.join(recipes)} or a YAML file")
    try:
        values = yaml.safe_load(read_text(path)) or {}
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"recipe {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"recipe {path} holds a {type(values).__name__}; it is a list of `field: value` lines")
    base = str(values.pop("recipe", next(iter(recipes))))
    if base not in recipes:
        raise UserError(f"recipe {path} builds on {base!r}; take one of {', '.join(recipes)}")
    try:
        recipe = override(recipes[base], values)
    except UserError as error:
        raise UserError(f"recipe {path}: {error}") from error
    return override(recipe, overrides or {})


def parse_setting(text: str) -> dict[str, Any]:
    """ "augmentation.flip=0" → {"augmentation": {"flip": 0}}: a `--set`, its value read as YAML. Raises UserError."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"{text!r} sets nothing; write field=value, such as batch_size=256")
    try:
        setting = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"{text!r} has a value that is not YAML") from error
    for part in reversed(key.strip().split(".")):
        setting = {part: setting}
    return setting


def merge(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings one after the other; nested ones (augmentation's) are merged field by field."""
    merged: dict[str, Any] = {}
    for setting in settings:
        for key, value in setting.items():
            nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge(merged[key], value) if nested else value
    return merged


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """`recipe` with fields replaced. Setting one of `epochs` and `iterations` unsets the other. Raises UserError, naming the field."""
    values = dict(values)
    for name, other in (("epochs", "iterations"), ("iterations", "epochs")):
        if values.get(name) is not None:
            values.setdefault(other, None)
    return _override(recipe, values, "")


def _override(record: Any, values: Mapping[str, Any], prefix: str) -> Any:
    types = get_type_hints(type(record))
    changed = {}
    for name, value in values.items():
        if name not in types:
            near = get_close_matches(str(name), types, n=1)
            hint = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(types)}"
            raise UserError(f"a recipe has no field {f'{prefix}{name}'!r}; {hint}")
        current = getattr(record, name)
        if isinstance(value, Mapping) and Augmentation in (types[name], *get_args(types[name])):
            changed[name] = _override(current or Augmentation(), value, f"{prefix}{name}.")
        else:
            changed[name] = _converted(value, types[name], f"{prefix}{name}")
    return replace(record, **changed)


def _converted(value: Any, annotation: Any, name: str) -> Any:
    """`value`, from YAML or Python, as a field of this type; a number may be text, since YAML takes 1e-3 for one."""
    choices = get_args(annotation)
    if get_origin(annotation) is Literal:
        # YAML reads a bare `no` as false.
        value = "no" if value is False and "no" in choices else value
        if value not in choices:
            raise UserError(f"{name} is {value!r}; it is one of {', '.join(choices)}")
    try:
        return msgspec.convert(value, annotation, strict=isinstance(value, bool | int | float))
    except msgspec.ValidationError as error:
        raise UserError(f"{name} is {value!r}; {str(error).replace('Expected', 'it must be')}") from error


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON's and YAML's types; `override(RECIPES["paper"], to_dict(recipe))` gives it back."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return list(map(plain, value)) if isinstance(value, list | tuple) else value

    return plain(asdict(recipe))


def for_network(recipe: Recipe, multiply_adds: int) -> Recipe:
    """The recipe as it applies to a network of so many multiply-adds at 224×224.

    The paper uses "slightly less aggressive scale augmentation", since small networks underfit rather than overfit, and gives no
    number. tensorpack's reproduction of its errors keeps at least 0.49 of the area below 1×: a crop of 8% of a picture often shows
    none of what the label says, which a network of 13 or 38M cannot afford to learn from. 1× begins at 133M (Table 1).
    """
    if recipe.small_network_augmentation is None or multiply_adds >= 100e6:
        return replace(recipe, small_network_augmentation=None)
    return replace(recipe, augmentation=recipe.small_network_augmentation, small_network_augmentation=None)
