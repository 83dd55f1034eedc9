"""NAME_prepare: a picture of any size → the network's input, as C beside NAME_run."""

from dataclasses import replace
from importlib import resources

from shufflenet.compiler.c.definitions import number
from shufflenet.compiler.c.source import CSource, Preparation
from shufflenet.compiler.errors import CompileError

_PROTOTYPES = """\
/* A picture of any size as `input`: 8-bit RGB or RGBA (`bytes` a pixel: 3 or 4; what is transparent is laid on white), rows
   `row_stride` bytes apart, resized, cropped and normalised as the network was trained. `scratch`: NAME_prepare_bytes, anywhere. */
size_t NAME_prepare_bytes(int height, int width);
void NAME_prepare(const uint8_t *pixels, ptrdiff_t row_stride, int bytes, int height, int width, float *input, void *scratch);
"""
_END_OF_PROTOTYPES = "\n#ifdef __cplusplus\n}"


def with_preparation(source: CSource, preparation: Preparation) -> CSource:
    """`source` with NAME_prepare. Raises CompileError for a network whose one input is not such a picture."""
    channels = len(preparation.pixels.order)
    shapes = source.signature.input_shapes
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != channels:
        raise CompileError(f"pictures of {channels} channels do not fit inputs of shape {', '.join(map(str, shapes))}.")
    values = {
        "SHORT_SIDE": str(preparation.short_side or 0),
        "ROWS": str(shapes[0][1]),
        "COLUMNS": str(shapes[0][2]),
        "CUBIC": str(int(preparation.interpolation == "bicubic")),
        "ANTIALIAS": str(int(preparation.antialias)),
        "GREY": str(int(channels == 1)),
        "SCALES": ", ".join(map(number, preparation.pixels.scale)),
        "SHIFTS": ", ".join(map(number, preparation.pixels.shift)),
        "ORDER": ", ".join(map(str, preparation.pixels.order)),
        "NAME": source.name,
    }
    text = _kernel("prepare")
    for word, value in values.items():
        text = text.replace(word, value)
    prototypes = _PROTOTYPES.replace("NAME", source.name)
    header = source.h.replace(_END_OF_PROTOTYPES, prototypes + _END_OF_PROTOTYPES)
    return replace(source, c="\n".join([source.c, _kernel("resize"), text]), h=header)


def _kernel(name: str) -> str:
    return (resources.files("shufflenet.compiler.c.kernels") / f"{name}.c").read_text(encoding="utf-8")
