"""
Training on one's own folder
============================

**What does it take to train on recordings of one's own?** A folder of recordings with their
texts, and a configuration. This folder has 40 s of speech, which is far too little: the example
shows the way, not what a model can learn. With ten minutes, see the recipe
:doc:`/recipes/own/README`.
"""

import shutil
import tempfile
from pathlib import Path

import speechasym

folder = Path(tempfile.mkdtemp())
recordings = folder / "recordings"
recordings.mkdir()
for line in Path("../data/transcripts.txt").read_text().splitlines():
    name, text = line.split(" ", 1)
    (recordings / f"{name}.txt").write_text(text)  # NAME.txt beside NAME.wav
    for file in Path("../data").glob(f"{name}.*"):
        shutil.copy(file, recordings)

# %%
# :func:`speechasym.prepare` reads the folder, divides it, and writes manifests. Whatever is wrong
# with the recordings or texts is in its report.

own = speechasym.prepare(
    "folder", recordings, folder / "own", split_by="recordings", shares=(0.6, 0.2, 0.2)
)
print(own.text)

# %%
# Phones come from a lexicon: that of the package for the words that it has. Others are pronounced
# from their spelling.

pretrained = speechasym.Recogniser()
cuts = {name: folder / "own" / f"{name}_cuts.jsonl.gz" for name in ("train", "dev", "test")}
words = speechasym.make_lexicon(
    pretrained.lexicon, list(cuts.values()), folder / "lexicon.txt", guess=True
)
print(words.words, "words, of which the lexicon lacks", words.missing)

# %%
# The configuration is that of the recipe: it starts from the package's model and trains on. Any
# key can be given as ``key=value``; ``speechasym train --print-config`` lists all of them.

config = speechasym.read_config(
    "../recipes/own/train.yaml",
    [
        f"data.train={cuts['train']}",
        f"data.dev={cuts['dev']}",
        f"data.cache={folder / 'features'}",
        f"data.labels.lexicon={folder / 'lexicon.txt'}",
        f"start={pretrained.trained.folder}",
        "data.workers=0",
        "epochs=8",
        "batch_seconds=10",
        "threads=1",
    ],
)
result = speechasym.train(config, folder / "my-run", show_progress=False)
print(f"{result['steps']} steps; phone error on dev {result['best']:.1%} at best")

# %%
# The curves: losses in training, and the errors on the dev recordings. The recipe trains phones
# beside their rivals (``mmi: 1``), so that their loss may be below 0.

figure = speechasym.plot_run(folder / "my-run", None, "curves", size=(7, 6))
figure

# %%
# Errors on the test recordings, before and after.

for run in (None, folder / "my-run"):
    result = speechasym.evaluate(
        run, cuts["test"], heads=["phones", "letters"], show_progress=False
    )
    print(result)

# %%
# A few symbols fewer are wrong than before; on dev hardly anything changed. With two short
# recordings that is no result. What counts is that every step is here.

#
# **What to try next.** Your own folder: a text beside each recording, or one table
# (:doc:`/docs/corpora`). ``bash recipes/own/run.sh FOLDER`` does all of this and more, and
# :doc:`/recipes/own/RESULTS` says what ten minutes bring.
