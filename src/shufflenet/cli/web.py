"""`shufflenet web SOURCE -o DIR`: a page that runs a network in the browser."""

from pathlib import Path
from typing import Annotated

import typer


def web(
    src: Annotated[
        str,
        typer.Argument(
            help="A checkpoint or detector folder, a shipped name, a Hub id, a variant (random weights), or an ONNX file."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder to write; with --single-file, the HTML file.")
    ],
    single_file: Annotated[bool, typer.Option(help="One HTML file, to be opened from disk.")] = False,
    serve: Annotated[bool, typer.Option(help="Serve the site on 127.0.0.1 until interrupted.")] = False,
    port: Annotated[int, typer.Option(help="For --serve; 0 takes a free one.", min=0, max=65535)] = 0,
    samples: Annotated[
        list[Path] | None, typer.Option(help="A picture that visitors can try; give it once for each.")
    ] = None,
) -> None:
    """Make a static page that runs a network on a visitor's own pictures and camera, on the visitor's device.

    A classifier's page shows the likeliest classes, a detector's draws boxes. It needs no server but one for files, and asks no other
    origin for anything.

    Examples:

      shufflenet web runs/flowers -o site --serve

      shufflenet web runs/cells -o cells.html --single-file

      shufflenet web runs/flowers -o site --samples rose.jpg --samples tulip.jpg
    """
    from contextlib import suppress

    from shufflenet.cli.terminal import say
    from shufflenet.deploy.resolve import RANDOM, is_onnx, is_variant
    from shufflenet.errors import UserError
    from shufflenet.web.build import check_free, site_files, write_single_file, write_site
    from shufflenet.web.serve import server

    if single_file and serve:
        raise UserError("--single-file makes a file to be opened from disk; leave out --serve, or --single-file")
    if single_file and output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output} is no name of an HTML file, which --single-file writes; give -o {output}.html")
    check_free(output)
    files = site_files(src, samples)
    if is_variant(src):
        say(RANDOM.format(src), stderr=True)
    if is_onnx(src):
        say(f"{src} does not say how its pictures are prepared; the page does it as is usual for ImageNet", stderr=True)
    if single_file:
        write_single_file(files, output)
        say(f"wrote {output}, {output.stat().st_size:,} bytes")
        return
    write_site(files, output)
    say(f"wrote {output}: {len(files)} files, {sum(map(len, files.values())):,} bytes")
    if serve:
        with server(output, port) as running, suppress(KeyboardInterrupt):
            say(f"http://127.0.0.1:{running.server_port}/ (Ctrl-C ends it)")
            running.serve_forever()
