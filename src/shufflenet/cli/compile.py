"""`shufflenet compile SRC -o DIR`: a network as one C source, and built for a target."""

from pathlib import Path
from typing import Annotated

import typer


def compile(
    src: Annotated[
        str,
        typer.Argument(
            help="A checkpoint or detector folder, a shipped name, a Hub id, a variant (random weights), or an ONNX file."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    size: Annotated[
        str | None,
        typer.Option(
            help="Height × width of the picture, such as 480x640; default: the checkpoint's, and for a Faster R-CNN a square of "
            "its short side."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What every public name in the C source begins with.")] = None,
    build: Annotated[
        str | None,
        typer.Option(
            help="Build too: native, x86_64-v2, x86_64-v3, x86_64-v3-vnni, x86_64-v4, x86_64-v4-vnni, "
            "x86_64-v4-fp16, aarch64, aarch64-dotprod, aarch64-fp16, riscv64, riscv64-v, wasm32, wasm32-relaxed."
        ),
    ] = None,
    element: Annotated[
        str, typer.Option(help="What the network computes with: float32, or float16 (half precision).")
    ] = "float32",
    weights: Annotated[
        str | None,
        typer.Option(
            help="What its weights are stored as: float32 or float16, for float32 arithmetic; default: --element."
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="With float16: a data set as for `shufflenet train`, on whose pictures no layer may overflow."
        ),
    ] = None,
    dump: Annotated[Path | None, typer.Option(help="A folder for every stage of the compiler, as text.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a network into one C source without dependencies, faster on one thread than a runtime.

    Writes NAME.c, NAME.h, threads.h for NAME_run_on, and main.c, which classifies a PPM picture (PGM, if the network
    takes grey ones), or draws what a detector finds in it (and NAME.bin, if the weights are too large for a source).

    Examples:

      shufflenet compile runs/flowers -o flowers_c

      shufflenet compile runs/cells -o cells_c

      shufflenet compile runs/coco -o coco_c --size 480x640

      shufflenet compile model.onnx -o out --size 480x640 --dump stages

      shufflenet compile runs/flowers -o flowers_c --build aarch64-fp16 --element float16 --calibration ~/flowers

      shufflenet compile runs/flowers -o flowers_c --weights float16
    """
    import shutil
    from dataclasses import replace
    from typing import cast

    from shufflenet.atomic import writing_into
    from shufflenet.cli.options import parse_size
    from shufflenet.cli.terminal import print_json, say
    from shufflenet.compiler.c.boxes import boxes_program, detect_arena_bytes
    from shufflenet.compiler.c.emit import main_program, threads_header
    from shufflenet.compiler.graph.elements import NumberType
    from shufflenet.compiler.run.build import build as build_library
    from shufflenet.compiler.run.build import compile_command, write_source
    from shufflenet.deploy.compile import Numbers, calibration_pictures, compile_source
    from shufflenet.deploy.detector import compile_detector_source, picture_size
    from shufflenet.deploy.resolve import RANDOM, is_variant
    from shufflenet.detection.folder import is_detector, load_detector
    from shufflenet.errors import UserError

    for option, chosen in (("--element", element), ("--weights", weights)):
        if chosen not in (None, "float32", "float16"):
            raise UserError(f"{option} {chosen} is unknown; choose float32 or float16")
    if element == "float16" and weights == "float32":
        raise UserError("float16 networks have float16 weights; leave --weights out, or choose --element float32")
    half = "float16" in (element, weights)
    if calibration and not half:
        raise UserError("--calibration is for float16; add --element float16 or --weights float16, or leave it out")
    numbers = Numbers(cast(NumberType, element), cast(NumberType | None, weights))
    if build:
        # An unknown target is refused before anything is written.
        compile_command(build)
    detector = decoder = None
    if is_detector(src):
        if dump:
            raise UserError(
                f"{src} is a detector, which takes no --dump; dump its network, which `detect export --heads` writes"
            )
        if element == "float16" or calibration:
            raise UserError(f"{src} is a detector, which computes in float32; --weights float16 halves its file")
        detector = load_detector(src)
        pictures = parse_size(size) if size else None
        compiled, source, decoder = compile_detector_source(
            detector, name=name or "detector", size=pictures, weights=numbers.weights
        )
    else:
        asked = parse_size(size) if size else None
        if calibration:
            numbers = replace(numbers, calibration=calibration_pictures(src, calibration, asked))
        compiled = compile_source(src, asked, name=name, dump=dump, numbers=numbers)
        source = compiled.source
    plan = compiled.plan
    names = [f"{source.name}.c", f"{source.name}.h", f"{source.name}.bin", "main.c", "threads.h"]
    existing = [output / name for name in names if (output / name).exists()]
    existing += output.glob(f"{source.name}-{build}.*")
    if existing and not overwrite:
        raise UserError(f"{existing[0]} is there already; give --overwrite or another folder")
    with writing_into(output) as scratch:
        written = write_source(source, scratch)
        if decoder or source.signature.takes_pixels:
            written.append(scratch / "main.c")
            written[-1].write_text(boxes_program(source) if decoder else main_program(source), encoding="utf-8")
        if f"{source.name}_run_on(" in source.h:
            written.append(scratch / "threads.h")
            written[-1].write_text(threads_header(), encoding="utf-8")
        if build:
            library = build_library(source, build)
            written.append(scratch / f"{source.name}-{build}{library.suffix}")
            shutil.copyfile(library, written[-1])
    written = [output / path.name for path in written]
    figures: dict[str, float] = {
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": plan.bound_bytes,
        "weights_bytes": plan.weights.nbytes,
        "multiply_adds": plan.multiply_adds,
    }
    if compiled.rounding:
        figures["float16_difference"] = compiled.rounding.largest_difference
    if decoder:
        figures["detect_arena_bytes"] = detect_arena_bytes(decoder, plan.arena_bytes)
    if json:
        print_json({"files": [str(path) for path in written], **figures, "random_weights": is_variant(src)})
        return
    say(f"wrote {', '.join(map(str, written))}")
    if detector and not size and detector.config.layout == "fpn":
        height, width = picture_size(detector)
        say(f"made for pictures of {height}×{width}; give --size for others, which are padded or shrunk to fit")
    if not decoder and not source.signature.takes_pixels:
        say("no main.c: how a picture becomes the network's input is known of checkpoints that take RGB or grey ones")
    if is_variant(src):
        say(RANDOM.format(src))
    say(f"arena {plan.arena_bytes:,} bytes (no arena is smaller than {plan.bound_bytes:,})")
    if decoder:
        say(f"from picture to boxes {figures['detect_arena_bytes']:,} bytes")
    say(f"weights {plan.weights.nbytes:,} bytes, {plan.multiply_adds:,} multiply-adds")
    if compiled.rounding:
        say(f"float16 {compiled.rounding}" + ("; --calibration tries pictures of yours" if not calibration else ""))
