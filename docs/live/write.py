"""Write the pages that docs/web.md shows: the networks that ship and a detector of garments, with sample pictures.

    python docs/live/write.py

`make docs` runs it. The pages are made anew each time, and are not committed. The detector in detector/ is that of
experiments/detection_scenes_ssdlite.yaml, its weights in half precision; its samples are scenes of test garments.
"""

import shutil
from pathlib import Path

from shufflenet.web.build import site_files, write_site

HERE = Path(__file__).parent
PAGES = {
    "garments": "fashion-mnist/shufflenet_x0_5_g3",
    "garments-small": "fashion-mnist/shufflenet_x0_25_g8",
    "scenes": str(HERE / "detector"),
}


def main() -> None:
    for name, source in PAGES.items():
        shutil.rmtree(HERE / name, ignore_errors=True)
        samples = sorted((Path(source) / "samples").glob("*.jpg")) or None
        files = site_files(source, samples)
        del files["README.md"]  # which a documentation site would make its own index.html of
        write_site(files, HERE / name)
        print(f"{HERE.name}/{name}: {source}")


if __name__ == "__main__":
    main()
