"""The compiled network in Chromium against onnxruntime-web: bench.html of `shufflenet web`, one thread, medians taken in turn.

    npm install --prefix somewhere onnxruntime-web
    python benchmarks/browser.py --node-modules somewhere/node_modules

With --once the page measures once; by default three times, and the median ratio counts.
"""

import argparse
import json
import tempfile
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from shufflenet.deploy.resolve import resolve
from shufflenet.web.build import site_files, write_site
from shufflenet.web.serve import server

AT_LEAST = {"shufflenet_x1_0_g3": 1.8, "shufflenet_x0_5_g3": 2.2, "shufflenet_x0_25_g3": 2.5}
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
FLAGS = ("--no-sandbox", "--disable-gpu")


def measure(address: str, files: list[Path], times: int, chromium: str) -> list[dict[str, Any]]:
    """What bench.html at `address` reports once the two files of onnxruntime-web are dropped on it, so many times."""
    reports = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(times):
            page = browser.new_page()
            page.goto(address)
            page.locator("body[data-ready]").wait_for(timeout=120_000)
            page.set_input_files("#files", files)
            page.locator("#verdict", has_text="times as fast").wait_for(timeout=120_000)
            reports.append(json.loads(page.get_attribute("body", "data-report") or ""))
            page.close()
        browser.close()
    return sorted(reports, key=lambda report: report["ratio"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "networks", nargs="*", default=list(AT_LEAST), metavar="NETWORK", help="what `shufflenet web` takes"
    )
    parser.add_argument("--node-modules", type=Path, required=True, help="where npm put onnxruntime-web")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--once", action="store_true", help="measure each network once")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    files = [options.node_modules / "onnxruntime-web" / "dist" / name for name in FILES]
    found = {}
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        for name in options.networks:
            place = Path(name).name
            write_site(site_files(resolve(name)), Path(folder) / place)
            address = f"http://127.0.0.1:{running.server_port}/{place}/bench.html"
            reports = measure(address, files, 1 if options.once else 3, options.chromium)
            found[name] = report = reports[len(reports) // 2]
            if not options.json:
                wanted = f" (at least {AT_LEAST[name]})" if name in AT_LEAST else ""
                ours, theirs = (report[runtime]["median"] for runtime in ("compiled", "onnxruntime-web"))
                both = f"{ours:.2f} ms, onnxruntime-web {theirs:.2f} ms"
                print(f"{name:20} {both}: {report['ratio']:.2f} times as fast{wanted}", flush=True)
        running.shutdown()
    if options.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
