"""Weights on this machine: found, loaded, or refused with the reason; nothing in them is run."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from demucs.htdemucs import HTDemucs
from safetensors.torch import load_file, save_file

from config import Config
from models import Models
from studio.errors import ModelUnusable, WeightsMissing
from studio.inference.variants import Where
from studio.jobs.database import connect
from studio.jobs.store import JobStore
from studio.separation.catalogue import DemucsCatalogue
from studio.separation.load import load
from studio.separation.network import Bag
from tests.support.demucs_models import TORCH
from tests.support.server import ROOT
from tests.support.sounds import noise
from tests.support.storage import disk_storage

BUNDLED = ROOT / "pretrained" / "demucs-mini"
STEMS = ("drums", "bass", "other", "vocals")
ARGUMENTS = {"sources": list(STEMS), "channels": 8, "t_layers": 1, "t_heads": 2, "segment": 1}


@pytest.fixture
def folder(tmp_path: Path, weights: Path) -> Path:
    """MODEL_DIR/demucs with the files of `tiny` and `tiny_ft`, to be changed at will."""
    folder = tmp_path / "demucs"
    shutil.copytree(weights / "demucs", folder)
    return folder


def catalogue(folder: Path) -> DemucsCatalogue:
    return DemucsCatalogue(BUNDLED, folder)


def loaded(folder: Path, name: str) -> Bag:
    return load(catalogue(folder), name, TORCH)


def first_window(bag: Bag) -> Any:
    return bag.members[0].network(noise(1.0)[None])[0]


def bag_file(folder: Path, name: str, **bag: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(bag))


def metadata_of(klass: str, **more: Any) -> dict[str, str]:
    texts = {name: json.dumps(value) for name, value in more.items()}
    return {"klass": klass, "args": "[]", "kwargs": json.dumps(ARGUMENTS), **texts}


def test_the_bundled_variant(folder: Path) -> None:
    found = catalogue(folder).find("mini")
    assert (found.where, found.stems, found.licence) == (Where.BUNDLED, STEMS, "MIT")
    assert found.size_bytes == (BUNDLED / "model.safetensors").stat().st_size <= 8_000_000
    bag = loaded(folder, "mini")
    assert (bag.sources, bag.sample_rate_hz, bag.channels) == (STEMS, 44_100, 2)


def test_a_missing_bundled_model_says_so(tmp_path: Path) -> None:
    found = DemucsCatalogue(tmp_path / "nowhere", tmp_path)
    assert found.find("mini").size_bytes is None
    with pytest.raises(ModelUnusable, match="install the server again"):
        load(found, "mini", TORCH)


def test_a_local_bag_of_safetensors(folder: Path) -> None:
    found = catalogue(folder).find("tiny_ft")
    assert (found.where, found.stems, found.licence) == (Where.LOCAL, STEMS, "yours")
    assert found.size_bytes == sum(path.stat().st_size for path in folder.glob("tiny?.safetensors"))
    bag = loaded(folder, "tiny_ft")
    assert [member.weights for member in bag.members] == [tuple(row) for row in np.eye(4).tolist()]


def test_a_local_bag_takes_the_place_of_a_release(folder: Path) -> None:
    bag_file(folder, "htdemucs", models=["tiny0"])
    found = catalogue(folder).find("htdemucs")
    assert (found.where, found.licence) == (Where.LOCAL, "MIT")
    assert np.array_equal(
        first_window(loaded(folder, "htdemucs")), first_window(loaded(folder, "tiny"))
    )


def test_a_bag_may_set_the_segment_but_not_beyond_the_training(folder: Path) -> None:
    bag_file(folder, "shorter", models=["tiny0", "hybrid0"], segment=0.5)
    bag_file(folder, "longer", models=["tiny0", "hybrid0"], segment=3)
    shorter, longer = loaded(folder, "shorter"), loaded(folder, "longer")
    assert [m.network.segment_samples for m in shorter.members] == [22_050, 22_050]
    assert [m.network.segment_samples for m in longer.members] == [44_100, 132_300]


def checkpoint(path: Path) -> bytes:
    """A pickled checkpoint as demucs lays it out, of the weights of a safetensors file."""
    package = {
        "klass": HTDemucs,
        "args": (),
        "kwargs": dict(ARGUMENTS),
        "state": load_file(str(path)),
    }
    buffer = io.BytesIO()
    torch.save(package, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_local_bag_of_pickled_checkpoints(folder: Path, with_checksum: bool) -> None:
    content = checkpoint(folder / "tiny0.safetensors")
    checksum = f"-{hashlib.sha256(content).hexdigest()[:8]}" if with_checksum else ""
    (folder / f"955717e8{checksum}.th").write_bytes(content)
    bag_file(folder, "htdemucs", models=["955717e8"])
    found = catalogue(folder).find("htdemucs")
    assert (found.where, found.stems, found.size_bytes) == (Where.LOCAL, STEMS, len(content))
    assert np.array_equal(
        first_window(loaded(folder, "htdemucs")), first_window(loaded(folder, "tiny"))
    )


def test_a_checkpoint_with_a_wrong_checksum_is_not_even_opened(
    folder: Path, tmp_path: Path
) -> None:
    class Touch:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "was run"),)

    buffer = io.BytesIO()
    torch.save({"klass": Touch()}, buffer)
    (folder / "abc-01234567.th").write_bytes(buffer.getvalue())
    bag_file(folder, "mine", models=["abc"])
    with pytest.raises(ModelUnusable, match="checksum"):
        loaded(folder, "mine")
    assert not (tmp_path / "was run").exists()


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "tiny2.safetensors").unlink()
    assert catalogue(folder).find("tiny_ft").missing == ("tiny2.safetensors",)
    with pytest.raises(WeightsMissing) as caught:
        loaded(folder, "tiny_ft")
    for part in ("tiny2.safetensors", "tiny2.th", str(folder), "'mini'"):
        assert part in caught.value.sentence
    missing = "tiny2.safetensors"
    assert caught.value.extra == {
        "variant": "tiny_ft",
        "missing": [missing],
        "reason": f"{missing} is missing",
    }


DAMAGE = {
    "empty": b"",
    "cut header": b"\x10\0\0",
    "endless header": b"\xff" * 8 + b"{}",
    "no JSON": (16).to_bytes(8, "little") + b"not JSON at all!",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "deep": (9000).to_bytes(8, "little") + b"[" * 9000,
    "text": b"404: Not Found\n" * 10,
}


@pytest.mark.parametrize("kind", [*DAMAGE, "cut"])
def test_a_damaged_safetensors_file_is_unusable(folder: Path, kind: str) -> None:
    path = folder / "tiny0.safetensors"
    content = path.read_bytes()
    path.write_bytes(DAMAGE.get(kind, content[: len(content) // 2]))
    with pytest.raises(ModelUnusable, match="bundled variant 'mini'"):
        loaded(folder, "tiny")


def test_weights_of_another_shape_are_unusable(folder: Path) -> None:
    tensors = load_file(str(folder / "tiny0.safetensors"))
    del tensors[next(iter(tensors))]
    metadata = metadata_of("demucs.htdemucs.HTDemucs")
    save_file(tensors, str(folder / "tiny0.safetensors"), metadata)
    with pytest.raises(ModelUnusable):
        loaded(folder, "tiny")


@pytest.mark.parametrize(
    "klass",
    [
        "subprocess.Popen",
        "os.mkdir",
        "demucs.repo.LocalRepo",
        "demucs.htdemucs.json.loads",
        "diffq.Anything",
        "intruder.Network",
        "HTDemucs",
        "",
    ],
)
def test_a_class_outside_of_demucs_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, klass: str
) -> None:
    (tmp_path / "intruder.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was run')!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    metadata = metadata_of(klass, args=[str(tmp_path / "was run")], kwargs={})
    path = folder / "tiny0.safetensors"
    save_file({"x": torch.zeros(1)}, str(path), metadata)
    with pytest.raises(ModelUnusable, match="not a Demucs network"):
        loaded(folder, "tiny")
    assert not (tmp_path / "was run").exists()
    assert "intruder" not in sys.modules


@pytest.mark.parametrize(
    "structure",
    [
        {"_class": "intruder.Network"},
        {"_dict": [["weights", {"_list": [{"_tuple": [{"_class": "intruder.Network"}]}]}]]},
        {"_dict": [["a", {"_class": "demucs.htdemucs.HTDemucs"}], ["b", {"_class": "os.system"}]]},
    ],
)
def test_a_class_inside_of_the_structure_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, structure: Any
) -> None:
    (tmp_path / "intruder.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was run')!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    metadata = metadata_of("demucs.htdemucs.HTDemucs", structure=structure)
    save_file({"x": torch.zeros(1)}, str(folder / "tiny0.safetensors"), metadata)
    with pytest.raises(ModelUnusable, match="not a Demucs network"):
        loaded(folder, "tiny")
    assert not (tmp_path / "was run").exists()
    assert "intruder" not in sys.modules


BROKEN_BAGS: dict[str, str | bytes] = {
    "no yaml": "models: [",
    "no text": b"\xff\xfe\x00bag",
    "empty": "",
    "a list": "- tiny0",
    "no models": "weights: []",
    "models is a name": "models: tiny0",
    "models is empty": "models: []",
    "models are numbers": "models: [955717]",
    "runs code": "!!python/object/apply:os.mkdir ['was run']",
}


@pytest.mark.parametrize("kind", BROKEN_BAGS)
def test_a_broken_bag_does_not_hide_the_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = BROKEN_BAGS[kind]
    (folder / "broken.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "tiny1.safetensors").write_bytes(b"damaged")
    config = Config(MODEL_DIR=str(folder.parent), DEMUCS_MODEL="tiny")
    store = JobStore(connect(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    described = Models(config, disk_storage(tmp_path, tmp_path), store).describe()["demucs"]
    assert {"mini", "htdemucs", "tiny", "tiny_ft", "broken"} <= set(described["variants"])
    assert described["variants"]["tiny"]["stems"] == list(STEMS)
    assert described["variants"]["broken"]["stems"] is None
    with pytest.raises(ModelUnusable, match=r"broken\.yaml"):
        loaded(folder, "broken")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    ("bag", "says"),
    [
        ({"models": ["tiny0"], "weights": [[1, 1, 1]]}, "row of weights"),
        ({"models": ["tiny0"], "weights": [[1, 1, 1, 1]] * 2}, "row of weights"),
        ({"models": ["tiny0"], "weights": [[1, 1, 1, 0]]}, "no weight for one of its stems"),
        ({"models": ["tiny0"], "weights": "heavy"}, "cannot be loaded"),
        ({"models": ["tiny0"], "segment": "long"}, "cannot be loaded"),
        ({"models": ["tiny0", "six"]}, "differ in their stems"),
    ],
)
def test_a_bag_that_does_not_fit_its_networks_is_unusable(
    folder: Path, bag: dict[str, Any], says: str
) -> None:
    six = {**ARGUMENTS, "sources": [*STEMS, "guitar", "piano"]}
    metadata = metadata_of("demucs.htdemucs.HTDemucs", kwargs=six)
    save_file(HTDemucs(**six).state_dict(), str(folder / "six.safetensors"), metadata)
    bag_file(folder, "odd", **bag)
    with pytest.raises(ModelUnusable, match=says):
        loaded(folder, "odd")


@pytest.mark.parametrize("name", ["mdx_q", "mdx_extra_q"])
def test_a_quantised_variant_asks_for_diffq(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "diffq", None)
    with pytest.raises(ModelUnusable, match="-m pip install diffq`"):
        loaded(folder, name)


def test_loading_draws_no_values_and_imports_no_compiler() -> None:
    """Both would be replaced or never used, and take seconds."""
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from demucs.hf import load_safetensors_model\n"
        "from studio.separation.checkpoints import load_file\n"
        "path = Path('pretrained/demucs-mini/model.safetensors')\n"
        "before = torch.get_rng_state()\n"
        "found = load_file(path, None).state_dict()\n"
        "assert torch.equal(torch.get_rng_state(), before)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "exact = load_safetensors_model(path).state_dict()\n"
        "assert found.keys() == exact.keys()\n"
        "assert all(torch.equal(found[name], exact[name]) for name in exact)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
