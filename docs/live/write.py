"""Write the pages that docs/web.md shows: the networks that ship, with their sample pictures.

    python docs/live/write.py

`make docs` runs it. The pages are made anew each time, and are not committed.
"""

import shutil
from pathlib import Path

from shufflenet.web.build import site_files, write_site

HERE = Path(__file__).parent
PAGES = {
    "garments": "fashion-mnist/shufflenet_x0_5_g3",
    "garments-small": "fashion-mnist/shufflenet_x0_25_g8",
}


def main() -> None:
    for name, source in PAGES.items():
        shutil.rmtree(HERE / name, ignore_errors=True)
        files = site_files(source)
        del files["README.md"]  # which a documentation site would make its own index.html of
        write_site(files, HERE / name)
        print(f"{HERE.name}/{name}: {source}")


if __name__ == "__main__":
    main()
