"""Packs what a GPU host without a network lacks, in parts of less than 60 MiB.

    python benchmarks/gpu/pack.py [--out DIR] [--no-packages]

Writes DIR/1/part.001, DIR/2/part.002, … and DIR/setup.sh. Carry one part per transfer, each with
setup.sh, and begin each call on the host with `source DIR/setup.sh`: it keeps what has arrived, and
once all parts are there it checks them, installs the packages into /tmp/bench-host/site and sets
PYTHONPATH, BENCH_CACHE and HF_HUB_OFFLINE. The parts hold wheels for Python 3.12 in the versions of
constraints.txt, and the cached files of MovieLens-100K, SmolLM2-135M and the sentence encoder.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.config.cards import RawFile
from bench.config.plugins import dataset_card, encoder_card, model_card
from bench.data.assets import cached_path, fetch

ROOT = Path(__file__).resolve().parents[2]
PART_BYTES = 56 * 2**20
LIMIT_BYTES = 60 * 2**20
PACKAGES = (
    "annotated-types", "attrs", "certifi", "charset-normalizer", "click", "datasets", "dill",
    "filelock", "gguf", "huggingface_hub", "idna", "iniconfig", "jsonschema",
    "jsonschema-specifications", "ml-dtypes", "msgpack", "multiprocess", "onnx", "packaging",
    "peft", "platformdirs", "pluggy", "pooch", "protobuf", "pydantic", "pydantic_core", "pygments",
    "pytest", "pyyaml", "ray", "referencing", "requests", "rpds-py", "transformers", "trl",
    "typing-extensions", "typing-inspection", "urllib3", "xxhash",
)  # fmt: skip
"""Packages that an image with PyTorch usually lacks, or has in versions that are too old."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SETUP = """\
host=/tmp/bench-host; mkdir -p $host/parts; here=$(dirname "${{BASH_SOURCE[0]}}")
cp -n "$here"/*/part.* $host/parts/ 2>/dev/null
if [ "$(ls $host/parts | wc -l)" = {num} ] && [ ! -e $host/ready ]; then
  if [ "$(cat $host/parts/part.* | sha256sum | cut -d' ' -f1)" = {sha256} ]; then
    cat $host/parts/part.* | tar -xf - -C $host
    if [ ! -d $host/wheels ] ||
      python3 -m pip install -q --no-index --no-deps --target $host/site $host/wheels/*.whl
    then touch $host/ready
    else echo "The packages are for Python 3.12; this is $(python3 --version)."; fi
  else echo "The parts differ from what was packed: remove $host/parts and send them again."; fi
fi
export PYTHONPATH=$host/site:$PWD BENCH_CACHE=$host/cache HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
echo "$(ls $host/parts | wc -l) of {num} parts have arrived"
"""


def download_packages(folder: Path) -> None:
    """Download wheels in the tested versions."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {
        line.partition("==")[0].lower().replace("_", "-"): line for line in lines if "==" in line
    }
    pinned = [tested.get(name.lower().replace("_", "-"), name) for name in PACKAGES]
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", *platforms]
    subprocess.run([*command, "-d", str(folder), *pinned], check=True)


def list_files() -> list[RawFile]:
    """List the files of the data set, the backbone and the encoder; they are fetched if missing."""
    owners = {
        "the data set ml-100k": dataset_card("ml-100k"),
        "the model smollm2-135m": model_card("smollm2-135m"),
        "the encoder": encoder_card("paraphrase-minilm-l3-v2"),
        "the other encoder": encoder_card("all-minilm-l6-v2"),
    }
    files = []
    for owner, card in owners.items():
        for file in card.files.values():
            if owner == "the other encoder" and file.name.endswith(".safetensors"):
                continue  # no row of the board uses it
            fetch(file, card, owner, data_dir=None, offline=False)
            files.append(file)
    return files


def split(archive: Path, out: Path) -> list[Path]:
    """Split an archive into parts, a folder each."""
    parts = []
    with archive.open("rb") as source:
        while chunk := source.read(PART_BYTES):
            path = out / str(len(parts) + 1) / f"part.{len(parts) + 1:03}"
            path.parent.mkdir(parents=True)
            path.write_bytes(chunk)
            parts.append(path)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--no-packages", action="store_true", help="Pack the files only.")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    with TemporaryDirectory() as temporary:
        archive = Path(temporary) / "all.tar"
        with tarfile.open(archive, "w") as tar:
            for path in dict.fromkeys(map(cached_path, list_files())):
                tar.add(path.resolve(), arcname=f"cache/{path.parent.name}/{path.name}")
            if not options.no_packages:
                download_packages(Path(temporary) / "wheels")
                tar.add(Path(temporary) / "wheels", arcname="wheels")
        parts = split(archive, options.out)
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    (options.out / "setup.sh").write_text(SETUP.format(num=len(parts), sha256=sha256))
    for path in parts:
        size = path.stat().st_size
        assert size < LIMIT_BYTES
        print(f"transfer {path.parent.name}: {size / 2**20:.1f} MiB, and setup.sh")


if __name__ == "__main__":
    main()
