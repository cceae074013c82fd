"""Two longer notebooks, each of several examples of the gallery, one after the other."""

import json
from pathlib import Path
from typing import Any

NOTEBOOKS = {  # name: its title, and the numbers of the examples
    "hearing": ("From sound to asymmetry", (1, 2, 3, 4, 5, 6)),
    "recognising": ("From features to words", (7, 8, 9, 10, 11, 12)),
}


def notebook(title: str, examples: list[Path], conf: dict[str, Any], folder: Path) -> dict:
    """Return a notebook with the text and the code of these examples."""
    from sphinx_gallery.notebook import add_markdown_cell, fill_notebook, jupyter_notebook_skeleton
    from sphinx_gallery.py_source_parser import remove_config_comments, split_code_and_text_blocks

    whole = jupyter_notebook_skeleton()
    add_markdown_cell(
        whole,
        f"# {title}\n\nLessons of speechasym's gallery. Put this notebook into the folder "
        "`examples/` of the repository, where it finds the recordings in `../data`.",
    )
    for example in examples:
        _, blocks = split_code_and_text_blocks(str(example))
        blocks = [(kind, remove_config_comments(text), line) for kind, text, line in blocks]
        fill_notebook(whole, blocks, conf, str(folder))
    return whole


def write(app: Any) -> None:
    """Write the notebooks beside the gallery's pages."""
    folder = Path(app.srcdir) / "docs" / "gallery" / "notebooks"
    folder.mkdir(exist_ok=True)
    for name, (title, numbers) in NOTEBOOKS.items():
        every = sorted((Path(app.srcdir) / "examples").glob("plot_*.py"))
        chosen = [path for path in every if int(path.stem[5:7]) in numbers]
        cells = notebook(title, chosen, app.config.sphinx_gallery_conf, folder)
        text = json.dumps(cells, indent=1, ensure_ascii=False) + "\n"
        path = folder / f"{name}.ipynb"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write, priority=900)  # after the gallery
    return {"parallel_read_safe": True, "parallel_write_safe": True}
