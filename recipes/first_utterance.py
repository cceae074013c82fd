"""Print id, recording and text of the first cut: python -m recipes.first_utterance CUTS."""

import sys

from speechasym.corpora.manifests import stream_cuts


def main(path: str) -> None:
    """Print three lines."""
    _, cut = next(stream_cuts(path))
    print(cut.id, cut.recording.sources[0].source, cut.supervisions[0].text, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
