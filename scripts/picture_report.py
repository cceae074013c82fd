"""Take pictures of a report's sections for docs/, with a headless Chromium.

    python scripts/picture_report.py report.html --out docs/report-mini

writes docs/report-mini-head.png, -errors.png, -confusions.png, -ranks.png and so on, one per
section of the page.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import browser
from PIL import Image

WIDTH, TALLEST = 1000, 1500  # pixels, of the page and of a section
SHRINK = 0.7
SECTIONS = """[...document.querySelectorAll('section')].map(s => {
  const r = s.getBoundingClientRect();
  return [s.id || 'head', r.top + scrollY, r.height]; })"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures and print their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", required=True, help="prefix of the files to write")
    options = parser.parse_args(arguments)
    binary = browser.chromium()
    if binary is None:
        parser.exit(2, "picture_report: no headless Chromium found; set CHROMIUM to its path\n")
    with browser.Page(binary) as page:
        page.open(options.page, WIDTH, False)
        sections: list[Any] = page.run(SECTIONS)
        for name, top, height in [["head", 0, sections[0][1]], *sections]:
            path = Path(f"{options.out}-{name}.png")
            page.picture(path, int(top), int(min(height, TALLEST)), WIDTH)
            with Image.open(path) as image:
                small = image.convert("RGB").resize(
                    (round(image.width * SHRINK), round(image.height * SHRINK)),
                    Image.Resampling.LANCZOS,
                )
            small.quantize(128).save(path, optimize=True)
            print(f"{path}  {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
