"""Rebuild the recordings of data/ from the Debian package pocketsphinx-testdata.

Obtain the package on a Debian or Ubuntu machine, in any folder (root is not needed):

    apt-get download pocketsphinx-testdata

and pass this script the file, or the folder that `dpkg-deb -x FILE.deb FOLDER` unpacks it to:

    python scripts/make_data.py PACKAGE.deb|UNPACKED_FOLDER [--out data]

Every source file is checked against its sha256 and every output against the sha256 of its
samples, all before the first file is written: on a mismatch the output folder stays unchanged and
the exit code is 1. The table was made from version 0.8+5prealpha+1-15 of the package.

The samples never change. The bytes of a FLAC file may: they depend on the encoder inside
libsndfile, so the check is on decoded samples, and SHA256SUMS names the files as written here.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

RATE = 16000
SOURCE_ROOT = "usr/share/pocketsphinx/test/data/"
AUSTEN = "librivox/sense_and_sensibility_01_austen_64kb-"


class DataError(Exception):
    """The package is not the one this script knows, or cannot be read."""


class Clip(NamedTuple):
    name: str  # file name in data/; its suffix picks the format
    source: str  # path below SOURCE_ROOT
    source_sha256: str
    samples_sha256: str  # of the decoded samples as little-endian int16
    transcript: str


CLIPS = (
    Clip(
        "cards-001.wav",
        "cards/001.wav",
        "899951e768666f27c8f8b1d4090b96fe7909cae9cec01bec0a5d5d1b8a8d566e",
        "4e0a744ec43b16a4fda29e9ec703308005ccc5f447021c35189bb9e95b35a698",
        "ten of clubs",
    ),
    Clip(
        "cards-002.wav",
        "cards/002.wav",
        "a3f9eae6fdb69a1231989e39a14d62388a6f52fb59666c76d95005318fadafec",
        "0685e12e91701219e16ba8dc34666269b66677c1f5162bd4a1cfde75dbe33173",
        "four queen of clubs",
    ),
    Clip(
        "cards-003.wav",
        "cards/003.wav",
        "00d283e46bc257ae479e4aa86593cadb541656eba1d19fc8abeece37f6a5a18b",
        "c6218d1c54d9692892bfb96c929c7c1e7abe6f3315ed5289c9c87f569e348208",
        "seven of clubs",
    ),
    Clip(
        "cards-004.wav",
        "cards/004.wav",
        "4c44a8177f5b128b99f078cdeb918119933155574231f1833e8840d1af09c521",
        "ca66f0840c7dc4b7441e3040c12d7ba89006d68a451d4b7746bbad51b41dad8b",
        "five five",
    ),
    Clip(
        "cards-005.wav",
        "cards/005.wav",
        "090f18f5f76cf8b2b43cd9e6b07823f4685a4742d9a36cd98b174a6586c18cf9",
        "79591cddc710272c8288f998c90baccdf39ea867ef7ef3720e32fcda2757dee9",
        "eight of spades four of clubs seven of hearts",
    ),
    Clip(
        "digits-2934z.flac",
        "tidigits/dhd.2934z.raw",
        "60c14412ad1412b83f37061e29c9e76f74cce0f90637debb8087f10cd559e552",
        "60c14412ad1412b83f37061e29c9e76f74cce0f90637debb8087f10cd559e552",
        "two nine three four zero",
    ),
    Clip(
        "goforward.wav",
        "goforward.raw",
        "f15c60ec54059d8b66e410d0064945a0b0a04ea56e1ddca1958e493c0cf70e71",
        "f15c60ec54059d8b66e410d0064945a0b0a04ea56e1ddca1958e493c0cf70e71",
        "go forward ten meters",
    ),
    Clip(
        "librivox-austen-0870.flac",
        AUSTEN + "0870.wav",
        "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c",
        "d6ae5769a7bd5312d26213a382b5c0629d7e015a8290b91dfd51b15b0e249948",
        "and mister john dashwood had then leisure to consider how much there might be "
        "prudently in his power to do for them",
    ),
    Clip(
        "librivox-austen-0880.flac",
        AUSTEN + "0880.wav",
        "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414",
        "0f8e7b446750517dfc5f444bccb67d2f65b05e2d2476d93600cee814f5791cc2",
        "he was not an ill disposed young man",
    ),
    Clip(
        "librivox-austen-0890.flac",
        AUSTEN + "0890.wav",
        "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10",
        "f5db1acab6b8e07eba8bb5a240311e66fa47aa818a499cca8d6b3ffdc9d31f2d",
        "unless to be rather cold hearted and rather selfish is to be ill disposed",
    ),
    Clip(
        "librivox-austen-0920.flac",
        AUSTEN + "0920.wav",
        "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59",
        "ea5551d7cba0ace6a98a9875e2ed38791737699b1f5e81df71ae1eef4fd24606",
        # The package writes "a more a amiable"; the novel has no second "a", and forced
        # alignment fits the recording better without it.
        "had he married a more amiable woman he might have been made still more respectable "
        "than he was",
    ),
    Clip(
        "librivox-austen-0930.flac",
        AUSTEN + "0930.wav",
        "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7",
        "0faf49d5f7782e92c1600066445e2127069e6aa8cba0349715efcd3e9e0da401",
        "he might even have been made amiable himself",
    ),
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ar_members(archive: bytes) -> dict[str, bytes]:
    """Return the members of an `ar` archive, which a .deb is."""
    if not archive.startswith(b"!<arch>\n"):
        raise DataError("not a .deb: it does not begin like an ar archive")
    members = {}
    at = 8
    while at + 60 <= len(archive):
        header = archive[at : at + 60]
        name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
        try:
            size = int(header[48:58])
        except ValueError:
            raise DataError(f"the .deb is damaged: no member size at byte {at}") from None
        at += 60
        members[name] = archive[at : at + size]
        if len(members[name]) < size:
            raise DataError(f"the .deb is truncated inside {name}")
        at += size + size % 2  # members start at even offsets
    return members


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the source files of an unpacked package, by path below SOURCE_ROOT."""
    paths = {clip.source: folder / SOURCE_ROOT / clip.source for clip in CLIPS}
    return {source: path.read_bytes() for source, path in paths.items() if path.is_file()}


def read_tar(data: bytes) -> dict[str, bytes]:
    wanted = {clip.source for clip in CLIPS}
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            source = member.name.removeprefix("./").removeprefix(SOURCE_ROOT)
            stream = tar.extractfile(member) if source in wanted else None
            if stream is not None:
                files[source] = stream.read()
    return files


def read_deb(package: Path) -> dict[str, bytes]:
    """Return the source files of a .deb, by path below SOURCE_ROOT."""
    members = ar_members(package.read_bytes())
    name = next((name for name in members if name.startswith("data.tar")), None)
    if name is None:
        raise DataError(f"{package} has no data.tar member")
    if not name.endswith(".zst"):
        try:
            return read_tar(members[name])
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"cannot read {name} of {package}: {error}") from error
    # tarfile reads zstd only from Python 3.14 on.
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise DataError(f"dpkg-deb cannot unpack {package}: {error}") from error
        return read_folder(Path(folder))


def decode(name: str, data: bytes) -> NDArray[np.int16]:
    if name.endswith(".raw"):
        return np.frombuffer(data, dtype="<i2").astype(np.int16)
    samples, rate = sf.read(io.BytesIO(data), dtype="int16", always_2d=True)
    if rate != RATE or samples.shape[1] != 1:
        raise DataError(f"{name} is {rate} Hz with {samples.shape[1]} channels, not 16 kHz mono")
    return samples[:, 0]


def encode(name: str, samples: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    kind = Path(name).suffix[1:].upper()
    sf.write(file, samples, RATE, format=kind, subtype="PCM_16")
    return file.getvalue()


def samples_sha256(samples: NDArray[np.int16]) -> str:
    return sha256(samples.astype("<i2").tobytes())


def build(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Return the audio files by name; raise DataError unless sources and samples are known."""
    problems = []
    for clip in CLIPS:
        if clip.source not in sources:
            problems.append(f"{clip.source} is missing")
        elif (digest := sha256(sources[clip.source])) != clip.source_sha256:
            problems.append(f"{clip.source} has sha256 {digest}, expected {clip.source_sha256}")
    if problems:
        raise DataError("\n".join(["this is not the known package:", *problems]))
    files = {}
    for clip in CLIPS:
        files[clip.name] = encode(clip.name, decode(clip.source, sources[clip.source]))
        # Read back what will be written, to detect a lossy or broken encoder.
        digest = samples_sha256(decode(clip.name, files[clip.name]))
        if digest != clip.samples_sha256:
            raise DataError(
                f"{clip.name} decodes to samples with sha256 {digest}, "
                f"expected {clip.samples_sha256}"
            )
    return files


def write_file(path: Path, data: bytes) -> None:
    """Write atomically, so that neither a reader nor an interrupt leaves half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def make_data(package: Path, out: Path) -> None:
    if package.is_dir():
        sources = read_folder(package)
    elif package.is_file():
        sources = read_deb(package)
    else:
        raise DataError(f"{package} is neither a file nor a folder")
    files = build(sources)
    lines = [f"{Path(clip.name).stem} {clip.transcript}\n" for clip in CLIPS]
    files["transcripts.txt"] = "".join(lines).encode()
    sums = [f"{sha256(files[name])}  {name}\n" for name in sorted(files)]
    files["SHA256SUMS"] = "".join(sums).encode()
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_file(out / name, data)

    print(f"{'file':<26}{'bytes':>8}{'seconds':>9}  {'sha256 of file':<66}sha256 of samples")
    for clip in CLIPS:
        data = files[clip.name]
        seconds = len(decode(clip.name, data)) / RATE
        print(
            f"{clip.name:<26}{len(data):>8}{seconds:>9.3f}  {sha256(data):<66}{clip.samples_sha256}"
        )
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes, in {out}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Rebuild data/ from the Debian package pocketsphinx-testdata."
    )
    parser.add_argument("package", type=Path, help="the .deb, or the folder it was unpacked to")
    default = Path(__file__).resolve().parent.parent / "data"
    parser.add_argument("--out", type=Path, default=default, help="output folder (the data folder)")
    args = parser.parse_args(argv)
    try:
        make_data(args.package, args.out)
    except (DataError, OSError, sf.SoundFileError) as error:
        print(f"make_data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
