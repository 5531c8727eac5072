"""Nothing foreign runs: our own code, archives, downloads, weights, models' folders."""

from __future__ import annotations

import ast
import http.server
import io
import json
import shutil
import stat
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version
from safetensors.torch import save_file

from bench.config import plugins
from bench.config.backbone_card import ModelCard
from bench.config.cards import DatasetCard, RawFile, Source
from bench.config.toml import check_card
from bench.data import assets, sources
from bench.data.sources import SourceError, extract, require_https
from bench.errors import BenchError
from bench.models.lm.tuned_model import load
from bench.models.lm.weights import fill_tensors, weight_files
from bench.models.rerank import vectors
from bench.stages.build import build_model

ROOT = Path(__file__).parents[1]
OURS = sorted([*(ROOT / "bench").rglob("*.py"), *(ROOT / "methods").glob("*.py")])

# --- our own code -----------------------------------------------------------------------------

FOREIGN_CODE = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
NEVER = {
    "torch.load", "torch.hub.load", "os.system", "os.popen", "shutil.unpack_archive",
    "pd.read_pickle", "pandas.read_pickle", "tempfile.mktemp", "ssl._create_unverified_context",
}  # fmt: skip
NEEDED = {"load": ("allow_pickle", False), "extractall": ("filter", "data")}
REFUSED = {"shell": True, "verify": False, "autoescape": False, "trust_remote_code": True}


def dangers(source: str) -> list[str]:
    """Name what a module does that ours never do, with its lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [f"{node.lineno}: {name}" for name in names if name in NEVER]
        else:
            dangerous = _in_call(node) if isinstance(node, ast.Call) else ()
            found += [f"{node.lineno}: {danger}" for danger in dangerous]
            continue
        found += [f"{node.lineno}: {one}" for one in names if one.split(".")[0] in FOREIGN_CODE]
    return found


def _in_call(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    given = {word.arg: word.value for word in node.keywords}
    if called in BUILTINS | NEVER:
        yield called
    for name, value in REFUSED.items():
        if name in given and not _is(given[name], not value):
            yield f"{called}({name}={ast.unparse(given[name])})"
    of_numpy = called in ("np.load", "numpy.load")
    if of_numpy or last == "extractall":
        name, wanted = NEEDED[last]
        if not _is(given.get(name), wanted):
            yield f"{called} without {name}={wanted!r}"
    # A GGUF file holds no code; a folder may.
    if last == "from_pretrained" and "gguf_file" not in given and "trust_remote_code" not in given:
        yield f"{called} without trust_remote_code=False"
    if last == "Environment" and not _is(given.get("autoescape"), True):
        yield f"{called} without autoescape=True"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and repr(node.value) == repr(value)


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "exec(text)",
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "yaml = __import__('yaml')",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "from torch import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "archive.extractall(folder)",
        "archive.extractall(folder, filter='tar')",
        "shutil.unpack_archive(path)",
        "requests.get(url, verify=False)",
        "Model.from_pretrained(folder)",
        "Model.from_pretrained(folder, trust_remote_code=card.remote)",
        "Environment(loader=loader)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert dangers(line)


def test_our_code_runs_nothing_foreign() -> None:
    found = {str(path): dangers(path.read_text()) for path in OURS}
    assert len(found) > 200
    assert not [f"{path}:{line}" for path, lines in found.items() for line in lines]


# --- requirements -----------------------------------------------------------------------------

# First releases without the advisories that are known for earlier ones, as of 2026-11-28.
SAFE = {
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701
    "jinja2": "3.1.6",  # CVE-2025-27516
    "mlflow-skinny": "3.11",  # CVE-2026-4137
    "onnx": "1.21",  # CVE-2026-27489, CVE-2026-34446, CVE-2026-34447
    "pyarrow": "23.0.1",  # CVE-2026-25087
    "pydantic": "2.4",  # CVE-2024-3772
    "pytest": "9.0.3",  # CVE-2025-71176
    "ray": "2.54",  # CVE-2025-62593, CVE-2026-27482
    "requests": "2.33",  # CVE-2024-47081, CVE-2026-25645
    "torch": "2.10",  # CVE-2025-32434, CVE-2026-24747
    "transformers": "5.3",  # CVE-2026-1839, CVE-2026-4372
}


def test_requirements_admit_no_release_with_a_known_advisory() -> None:
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    bounds = {
        requirement.name: min(each.version for each in requirement.specifier)
        for group in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in map(Requirement, group)
        if requirement.specifier
    }
    for name, version in SAFE.items():
        assert Version(bounds[name]) >= Version(version), name
    lines = (root / "constraints.txt").read_text().splitlines()
    assert any("--hash" in line or line.startswith("# No hashes: ") for line in lines)
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in pinned:
        (each,) = requirement.specifier
        safe = SAFE.get(requirement.name.lower(), "0")
        assert Version(each.version) >= Version(safe), requirement


# --- archives ---------------------------------------------------------------------------------


def zipped(path: Path, content: bytes, name: str = "x.dat") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def test_a_bomb_is_told_by_the_size_that_the_card_declares(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "x.zip", b"0" * 5_000_000)
    assert bomb.stat().st_size < 10_000
    with pytest.raises(SourceError, match="has 5,000,000 bytes, not 1,000"):
        extract(bomb, "x.dat", tmp_path / "out", "archive", size=1000)
    assert not (tmp_path / "out").exists()
    extract(bomb, "x.dat", tmp_path / "out", "archive", size=5_000_000)


def test_a_member_larger_than_the_disk_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = zipped(tmp_path / "x.zip", b"0" * 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4999))
    with pytest.raises(SourceError, match="5,000 bytes, too many for the disk"):
        extract(bomb, "x.dat", tmp_path / "out", "archive")
    assert not (tmp_path / "out").exists()


def test_no_more_is_written_than_was_announced(tmp_path: Path) -> None:
    """The directory says 10 bytes, the packed content goes on for a million."""
    path = zipped(tmp_path / "x.zip", b"0" * 1_000_000)
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged: Bad CRC-32"):
        extract(path, "x.dat", tmp_path / "out", "archive")
    assert (tmp_path / "out").stat().st_size <= 10


def test_other_members_of_a_poisoned_archive_go_nowhere(tmp_path: Path) -> None:
    inside = io.BytesIO()
    link = zipfile.ZipInfo("also")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(inside, "w") as archive:
        for name in ("../escaped", "/escaped-by-bench", "a/../../escaped", "C:\\escaped"):
            archive.writestr(name, "evil")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("x.dat", "good")
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    (tmp_path / "x.zip").write_bytes(inside.getvalue())
    extract(tmp_path / "x.zip", "x.dat", folder / "out", "archive")
    here = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert here == {"x.zip", "deep", "deep/er", "deep/er/out"}
    assert not Path("/escaped-by-bench").exists()
    assert (folder / "out").read_text() == "good"


def test_the_declared_size_holds_for_wheels_and_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(requirement: str, folder: Path) -> None:
        zipped(folder / "toy.whl", b"0" * 5000)

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "download_wheel", pip)
    zipped(tmp_path / "toy.zip", b"0" * 5000)
    wheel = Source(wheel="toydata==1.0", path="x.dat")
    archive = Source(url="https://example.org/toy.zip", path="x.dat")
    for source in (wheel, archive):
        file = RawFile(name="x.dat", size=4000, sources=(source,))
        with pytest.raises(BenchError, match="has 5,000 bytes, not 4,000"):
            card = SimpleNamespace(license="L", homepage=None)
            assets.fetch(file, card, "toy", data_dir=tmp_path, offline=source is archive)


# --- downloads --------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["http://example.org/x", "//", "/elsewhere", "https://b.org/x", ""])
def test_a_redirection_stays_on_tls(to: str) -> None:
    answer = SimpleNamespace(url="https://example.org/x", headers={"location": to} if to else {})
    if to.startswith("http:"):
        with pytest.raises(SourceError, match="redirects away from https, to http://example"):
            require_https(answer)
    else:
        require_https(answer)


def test_every_answer_of_a_download_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot speak TLS stands for every address that is left on the way."""

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"evil")

        def log_message(self, *given: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(SourceError, match="away from https"):
        sources.download(f"http://127.0.0.1:{server.server_port}/x", "x", None, tmp_path)
    server.shutdown()
    server.server_close()
    assert not (tmp_path / "x").exists()


def test_only_https_stands_in_cards() -> None:
    files = [
        file
        for name in plugins.card_paths("datasets")
        for file in plugins.dataset_card(name).files.values()
    ]
    addresses = [source.url for file in files for source in file.sources if source.url]
    assert len(addresses) > 10
    assert all(address.startswith("https://") for address in addresses)


def test_the_names_in_cards_are_names() -> None:
    base = dict.fromkeys(("title", "description", "license", "citation", "reader"), "x")
    for name in ("../x", "/etc/passwd", "a/b"):
        with pytest.raises(BenchError, match="a file name, not a path"):
            check_card({**base, "files": {"items": {"name": name}}}, DatasetCard, "a card")


# --- weights and arrays -----------------------------------------------------------------------


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    sizes = {"layers": 1, "width": 16, "heads": 2, "intermediate": 16, "vocabulary": 300}
    nouns, titles = ("item", "items"), ("Red", "Green")
    build_model(folder, titles=titles, nouns=nouns, architecture=sizes, context=64, seed=0)
    load(folder, tuning={"kind": "full"}, dtype="float32")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(BenchError) as caught:
        load(folder, tuning={"kind": "full"}, dtype="float32")
    return caught.value.message


def test_a_pickle_is_no_weights(model: Path, tmp_path: Path) -> None:
    proof = tmp_path / "unpickled"
    torch.save({"w": Evil(proof)}, model / "pytorch_model.bin")
    shutil.copy(model / "pytorch_model.bin", tmp_path / "evil.pt")
    (model / "model.safetensors").unlink()
    assert refused(model).endswith("contains no weights as safetensors.")
    shutil.copy(tmp_path / "evil.pt", model / "model.safetensors")
    assert "cannot be loaded" in refused(model)
    with pytest.raises(BenchError, match="cannot be read"):
        fill_tensors({"w": torch.zeros(1)}, weight_files(model))
    assert not proof.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert proof.exists(), "the pickle would have done it"


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    proof = tmp_path / "unpickled"
    path = tmp_path / "vectors.npy"
    np.save(path, np.array([Evil(proof)], dtype=object), allow_pickle=True)
    with pytest.raises((BenchError, ValueError)):
        vectors._read(tmp_path, 1, "users")
    assert not proof.exists()
    np.load(path, allow_pickle=True)
    assert proof.exists(), "the pickle would have done it"


@pytest.mark.parametrize("cut", [0, 4, 8, 60, -1])
def test_truncated_safetensors_are_a_sentence(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(64)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BenchError, match="cannot be read") as caught:
        fill_tensors({"w": torch.zeros(64)}, [path])
    assert caught.value.hint


def test_code_in_a_models_folder_is_not_run(model: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    (model / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Config: ...\n")
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Config"}
    (model / "config.json").write_text(json.dumps({**config, "model_type": "evil"}))
    assert "cannot be loaded" in refused(model)
    (model / "config.json").write_text(json.dumps(config))
    load(model, tuning={"kind": "full"}, dtype="float32")  # transformers' own Llama, not that one
    assert not proof.exists()


@pytest.mark.parametrize("key", ["trust_remote_code", "remote_code", "code"])
def test_no_card_can_ask_for_foreign_code(key: str) -> None:
    card = dict.fromkeys(("title", "description", "license", "repository"), "x")
    card |= {"tuning": "lora", "weights": "hub", "revision": "0" * 40}
    check_card(card, ModelCard, "a card")
    with pytest.raises(BenchError, match=key):
        check_card({**card, key: True}, ModelCard, "a card")
