"""Put a finished run into the package, as the model that `transcribe` uses by default.

    python scripts/ship_model.py RUN --lexicon lexicon.txt --lm lm.arpa.gz
    python scripts/ship_model.py RUN --lexicon lexicon.txt --lm lm.npz --zip speechasym-small.zip

Writes speechasym/recognition/pretrained/: the model without paths of this machine, names of its
units, calibration (from evaluate --calibrate), lexicon, language model, and the sha256 of each.
Update docs/model-card.md by hand. With --zip it writes them to a file that `speechasym models
--install` takes; the model's name is what follows the last hyphen of the file's.
"""

import argparse
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED

from speechasym import files
from speechasym.errors import SpeechAsymError
from speechasym.language.model_files import read_model, write_model
from speechasym.recognition import confidence, pretrained
from speechasym.training import checkpoints, unit_names

MOST = 2_000_000  # bytes of the model


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder, or the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--lexicon", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True, help="ARPA or binary")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=pretrained.FOLDER)
    where.add_argument("--zip", type=Path, help="file to write instead of a folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        if options.zip:
            options.out = Path(temporary, options.zip.stem.rpartition("-")[2])
        size = write_folder(options, parser)
        if options.zip:
            with files.atomic(options.zip) as file, zipfile.ZipFile(file, "w", ZIP_DEFLATED) as z:
                for path in sorted(options.out.iterdir()):
                    z.write(path, f"{options.out.name}/{path.name}")
            print(f"{options.zip.stat().st_size:>10,} bytes  {options.zip}")
        elif size > MOST:
            parser.exit(1, f"ship_model: the model has {size:,} bytes, more than {MOST:,}\n")


def write_folder(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Write the folder, print the sizes, and return that of the model in bytes."""
    try:
        tensors, meta = checkpoints.load_model(options.run)
    except SpeechAsymError as error:
        parser.exit(2, f"ship_model: {error}\n")
    data = meta["config"]["data"]
    for key in ("train", "dev"):
        data[key] = Path(data[key]).name
    data["cache"], data["labels"]["lexicon"] = None, None
    for place, key in ((data["augment"], "noise"), (meta["config"], "start")):
        place[key] = place[key] and Path(place[key]).name
    for key in ("format", "sha256"):
        meta.pop(key, None)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoints.save_model(options.out, tensors, meta)
    shutil.copyfile(options.lexicon, options.out / pretrained.LEXICON)
    write_model(options.out / pretrained.LM, read_model(options.lm))
    names = [checkpoints.MODEL, checkpoints.MODEL_META, pretrained.LEXICON, pretrained.LM]
    for name in (unit_names.FILE, confidence.FILE):
        (options.out / name).unlink(missing_ok=True)
        if (options.run / name).exists():  # names: since version 0.1; confidence: if calibrated
            shutil.copyfile(options.run / name, options.out / name)
            names.append(name)
    sums = {}
    for name in names:
        content = (options.out / name).read_bytes()
        sums[name] = hashlib.sha256(content).hexdigest()
        print(f"{len(content):>10,} bytes  {sums[name]}  {name}")
    files.write_json(options.out / pretrained.SUMS, sums)
    return (options.out / checkpoints.MODEL).stat().st_size


if __name__ == "__main__":
    main()
