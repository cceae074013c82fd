"""
ABX in ten lines
================

**How well do features tell phones apart, without any training?** A and X are two tokens of one
phone, B is a token of another. If X is nearer to B than to A, that is an error. Half of all
triples are wrong by chance.

The recordings are synthetic: espeak-ng speaks eighteen short sentences in sixteen voices, and
reports when each phone begins (``pip install 'speechasym[synth]'``). :doc:`/docs/abx` has figures
for human speech, where errors are two to three times as many.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import speechasym

corpus = Path(tempfile.mkdtemp()) / "mini"
speechasym.prepare("mini", corpus, corpus, minutes=1)
rows = [json.loads(line) for line in (corpus / "utterances.jsonl").read_text().splitlines()]
rows = [row for row in rows if row["set"] == "train"]
print(rows[0]["text"], rows[0]["phones"][:3], "samples at 16 kHz")

# %%
# An item file, as in the ZeroSpeech challenges, has a line for each token: recording, onset and
# offset in s, the phone with its neighbours, and the speaker.

lines = ["#file onset offset #phone prev-phone next-phone speaker"]
for row in rows:
    triples = zip(row["phones"], row["phones"][1:], row["phones"][2:], strict=False)
    for (_, _, before), (start, end, phone), (_, _, after) in triples:
        if phone != "sil":
            times = f"{start / 16000:.7f} {end / 16000:.7f}"  # exact: 7 digits hold n / 16000
            lines.append(f"{row['name']} {times} {phone} {before} {after} {row['speaker']}")
items = corpus / "mini.item"
items.write_text("\n".join(lines) + "\n")

# %%
# Features of the same recordings, and the errors: all triples, within and across speakers.

sets = {
    "gammatone level (64)": {"features": "gammatone"},
    "log-mel (80)": {"features": "logmel"},
    "MFCC (39)": {"features": "mfcc"},
    "asymmetry, compact (33)": {"features": "asymmetry", "compact": True},
}
results = {}
for name, options in sets.items():
    folder = corpus / options["features"]
    speechasym.extract(corpus / "audio" / "train", folder, **options)
    results[name] = speechasym.abx(items, folder)
print(results["MFCC (39)"])

# %%
# So short a corpus has hardly a phone twice between the same neighbours: the two tasks in *same
# context* rest on a few triples and say nothing. The others:

# %%

figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
tasks = ("within speakers, any context", "across speakers, any context")
for offset, task, colour in ((0.17, tasks[0], "tab:blue"), (-0.17, tasks[1], "tab:orange")):
    for place, (name, result) in enumerate(results.items()):
        error, low, high = (100 * value for value in result.tasks[task][:3])
        bars = [[error - low], [high - error]]
        axes.barh(place + offset, error, 0.3, xerr=bars, color=colour, capsize=3)
        print(f"{name:<24} {task.split(',')[0]}: {error:4.1f} %")
    axes.barh(0, 0, color=colour, label=task.split(",")[0])
axes.set_yticks(range(len(results)), list(results))
axes.set(xlabel="ABX error (%), 95 % interval over speakers", xlim=(0, None))
figure.legend(loc="outside upper center", ncols=2)
plt.show()

# %%
# Within a voice the plain levels do best. From one voice to another they lose 1.3 to 1.7 points,
# the compact asymmetry features 0.6, and MFCC, which make most errors in any case, nothing. The
# intervals overlap: eighteen sentences do not rank four sets.
#
# **What to try next.** ``minutes=25`` for the whole corpus; ``distance="euclidean"``; features of
# your own as a dict ``{recording: (frames, columns)}`` with ``rate=``. In the shell: ``speechasym
# score abx --items mini.item --features DIR``.
