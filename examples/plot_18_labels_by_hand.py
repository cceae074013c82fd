"""
Checking labels by hand
=======================

**How do I get labels that I have seen and corrected myself?** Forced alignment writes the first
version beside the recording, a picture shows where to look, and ``speechasym explore`` opens both
in the browser, to listen and to move boundaries.
"""

import shutil
import tempfile
from pathlib import Path

import speechasym

folder = Path(tempfile.mkdtemp()) / "labels"
folder.mkdir()
file = Path(shutil.copy(Path("../data") / "librivox-austen-0930.flac", folder))
text = "he might even have been made amiable himself"
result = speechasym.align(None, file, folder, text, show_progress=False)
print([path.name for path in sorted(folder.glob("*.*"))])
print(
    result.symbols,
    "misfit",
    f"{result.misfits[file.stem]:.1f} (a text that fits has less than 2.5)",
)

# %%
# Pictures draw a TextGrid that lies beside the recording. Does each boundary stand where the
# sound changes?

figure = speechasym.plot(
    file, what=["waveform", "spectrogram"], start=1.0, end=3.0, size=(7, 6), caption=False
)
figure

# %%
# The *S* from 2.44 to 2.60 s is where the spectrogram is bright above 3 kHz. The border between
# *amiable* and *himself* at 2.25 s is one to listen to: the *HH* between two voiced sounds has no
# clear beginning, and is given few milliseconds.
#
# To correct them, open the folder in the browser:
#
# .. code-block:: sh
#
#     speechasym explore labels
#
# Click a label, drag its border, press the space bar to hear the selection. *Save as new
# TextGrid* writes ``librivox-austen-0930.corrected.TextGrid``, and never over a file that exists.
# The page can also be started from Python:

with speechasym.explore(folder, browser=False) as explorer:
    print("this machine only:", explorer.address.startswith("http://127.0.0.1:"))
    # explorer.wait() keeps it open until Ctrl-C

# %%
# **What to try next.** A folder of recordings with a text beside each: ``speechasym align
# recordings --out recordings``, then ``speechasym explore recordings``. Corrected times can be
# compared with those of the machine as in the example on forced alignment. :doc:`/docs/explore`
# describes the page.
