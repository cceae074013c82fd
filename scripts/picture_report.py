"""Pictures of a report's sections, for docs/: needs a headless Chromium.

    python scripts/picture_report.py report.html --out docs/report-mini

writes docs/report-mini-head.png, -errors.png, -confusions.png, -ranks.png and so on, as the page's
sections are called.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]
import browser  # noqa: E402

WIDE, TALLEST = 1000, 1500  # pixels of the page; of a section
SHRINK = 0.7
SECTIONS = """[...document.querySelectorAll('section')].map(s => {
  const r = s.getBoundingClientRect();
  return [s.id || 'head', r.top + scrollY, r.height]; })"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures and say where they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", required=True, help="what the files' names begin with")
    options = parser.parse_args(arguments)
    binary = browser.found()
    if binary is None:
        parser.exit(2, "picture_report: no headless Chromium here\n")
    with browser.Page(binary) as page:
        page.open(options.page, WIDE, False)
        found: list[Any] = page.run(SECTIONS)
        for name, top, height in [["head", 0, found[0][1]], *found]:
            path = Path(f"{options.out}-{name}.png")
            page.picture(path, int(top), int(min(height, TALLEST)), WIDE)
            with Image.open(path) as image:
                small = image.convert("RGB").resize(
                    (round(image.width * SHRINK), round(image.height * SHRINK)),
                    Image.Resampling.LANCZOS,
                )
            small.quantize(128).save(path, optimize=True)
            print(f"{path}  {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
