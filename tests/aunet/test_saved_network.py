"""A model folder from anybody: what is wrong with it is one line, and no memory is taken for what is not in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from tests.hostile_files import Mark, rewritten, saved, small_program
from tests.tiny import CATEGORIES, TINY

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, AugmentConfig(), FusionConfig())
    save_file({n: w.contiguous() for n, w in predictor.model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(predictor.settings()))
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A model folder, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "model"))


def content(data: bytes | str) -> Damage:
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


def setting(name: str, value: Any) -> Damage:
    """A value of config.json by its dotted name."""

    def damage(path: Path) -> None:
        document = entry = json.loads(path.read_text())
        *parents, last = name.split(".")
        for parent in parents:
            entry = entry[int(parent) if isinstance(entry, list) else parent]
        entry[last] = value
        path.write_text(json.dumps(document))

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        state = load_file(path)
        change(state)
        save_file(state, path)

    return damage


def header(text: str, length: int | None = None) -> Damage:
    data = text.encode()
    return content((len(data) if length is None else length).to_bytes(8, "little") + data)


def cut(size: int) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


CONFIGS: dict[str, tuple[Damage, str]] = {
    "empty": (content(""), "not JSON"),
    "no JSON": (content("model: 1"), "not JSON"),
    "not UTF-8": (content(b'{"model": "\xff"}'), "not Unicode"),
    "a list": (content("[]"), "holds a list, not an object"),
    "nothing in it": (content("{}"), "lacks augment, categories, fusion, model"),
    "NaN": (content('{"model": NaN}'), "NaN is not a number of JSON"),
    "endless number": (content('{"model": ' + "9" * 5000 + "}"), "not JSON"),
    "deep": (content("[" * 200_000), "nested too deep"),
    "large": (content(b" " * 2**21), "2097152 bytes, more than 1048576"),
    "null": (setting("model", None), "model = None: give an object with the fields"),
    "unknown key": (setting("model.colour", 1), r"model\.colour: no such field"),
    "wrong type": (setting("model.backbone.fpn_channels", "16"), r"fpn_channels = '16': give a value of type int"),
    "a float": (setting("model.backbone.fpn_channels", 16.5), "give a value of type int"),
    "negative": (setting("model.backbone.fpn_channels", -16), "fpn_channels"),
    "infinite": (setting("fusion.score_threshold", 1e400), "not a number of JSON"),
    "out of range": (setting("fusion.score_threshold", 1e300), "score_threshold"),
    "a name": (setting("model.backbone.name", "resnet9"), "use one of resnet18"),
    "a name of timm that is an address": (setting("model.backbone.name", "timm:hf-hub:a/b"), "use one of resnet18"),
    "categories": (setting("categories", {"a": 1}), "categories"),
    "a category": (setting("categories.0.isthing", "0"), "isthing is neither 0 nor 1"),
    "no categories": (setting("categories", []), "categories"),
    "number of categories": (setting("categories", 7), "categories"),
}
SIZES: dict[str, tuple[Damage, str]] = {
    "many channels": (setting("model.backbone.fpn_channels", 10**9), "fpn_channels|does not fit"),
    "too many channels": (setting("model.background.channels", 10**30), "channels|does not fit"),
    "more digits than a float": (setting("model.background.channels", 10**400), "channels|does not fit"),
    "many convolutions": (setting("model.foreground.mask_convs", 10**9), "mask_convs|asks for 1000000"),
    "many box convolutions": (setting("model.foreground.box_convs", 10**9), "box_convs|asks for 1000000"),
    "many background convolutions": (setting("model.background.convs", [10**9] * 4), "convs|asks for 40000000"),
}
WEIGHTS: dict[str, tuple[Damage, str]] = {
    "empty": (content(b""), "does not fit"),
    "no safetensors": (content(b"weights" * 100), "does not fit"),
    "half a file": (cut(50_000), "does not fit"),
    "half a header": (cut(100), "does not fit"),
    "huge header": (header("{}", 2**60), "does not fit"),
    "deep header": (header("[" * 100_000), "does not fit"),
    "beyond the end": (header('{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'), "not fit"),
    "negative": (header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'), "does not fit"),
    "a pickle": (content(saved({"w": torch.zeros(2)})), "does not fit"),
    "another shape": (
        weights(lambda w: w.update({"background.classifier.weight": torch.zeros(1)})),
        r"background\.classifier\.weight is F32\[1\], not F32\[3, 16, 1, 1\]",
    ),
    "another type": (
        weights(lambda w: w.update({"background.classifier.bias": torch.zeros(3).half()})),
        r"background\.classifier\.bias is F16\[3\], not F32\[3\]",
    ),
    "missing": (weights(lambda w: w.pop("background.classifier.bias")), r"background\.classifier\.bias is missing"),
    "unknown": (weights(lambda w: w.update({"extra": torch.zeros(1)})), "extra is unknown"),
    "NaN": (
        weights(lambda w: w.update({"background.classifier.bias": torch.full((3,), torch.nan)})),
        r"background\.classifier\.bias is not finite",
    ),
}
OTHERS: dict[str, tuple[str, Damage, str]] = {
    "config is missing": ("config.json", Path.unlink, r"no file config\.json"),
    "weights are missing": ("model.safetensors", Path.unlink, r"no file model\.safetensors"),
    "config is a folder": ("config.json", as_folder, r"no file config\.json"),
    "weights are a folder": ("model.safetensors", as_folder, r"no file model\.safetensors"),
    "weights are a broken link": ("model.safetensors", as_broken_link, r"no file model\.safetensors"),
    "config is a broken link": ("config.json", as_broken_link, r"no file config\.json"),
    "a program beside them": ("model.pt2", content(b"PK"), r"has model\.safetensors and model\.pt2; remove the one"),
    "a link beside them": ("model.pt2", lambda p: p.symlink_to("model.safetensors"), "has model.safetensors and"),
}
CASES = [
    *((f"config {name}", "config.json", *case) for name, case in {**CONFIGS, **SIZES}.items()),
    *((f"weights {name}", "model.safetensors", *case) for name, case in WEIGHTS.items()),
    *((name, *case) for name, case in OTHERS.items()),
]


@pytest.mark.parametrize(("file", "damage", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_wrong_is_one_line(folder: Path, file: str, damage: Damage, message: str) -> None:
    damage(folder / file)
    with pytest.raises(InputError, match=message) as caught:
        Predictor.from_folder(folder)
    for problem in caught.value.problems:
        assert "\n" not in problem and len(problem) < 800 and str(folder) in problem


def test_a_missing_package_is_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("name", "timm:resnet18"), ("norm", "bn")):
        setting(f"model.backbone.{name}", value)(folder / "config.json")
    monkeypatch.setitem(sys.modules, "timm", None)
    message = (
        r"^model .*: model\.backbone\.name = 'timm:resnet18': needs timm \(.*\); install aunet\[timm\], or timm alone$"
    )
    with pytest.raises(InputError, match=message) as caught:
        Predictor.from_folder(folder)
    assert len(caught.value.problems) == 1 and str(folder) in caught.value.problems[0]


def test_memory_stays_with_the_file(folder: Path) -> None:
    """A configuration that asks for gigabytes gets none, in a process that may take little."""
    for name in ("foreground.box_channels", "foreground.mask_channels", "background.channels"):
        setting(f"model.{name}", 2048)(folder / "config.json")
    code = (
        "import resource, sys\nfrom aunet import Predictor\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: Predictor.from_folder(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    message, megabytes = done.stdout.splitlines()
    assert "does not fit" in message
    assert int(megabytes) < 150


@pytest.mark.parametrize("trust", [False, True])
def test_a_program_runs_nothing(folder: Path, tmp_path: Path, trust: bool) -> None:
    """Neither without the flag, nor with it what can be seen to be hostile."""
    mark = tmp_path / "mark"
    (folder / "model.safetensors").unlink()
    program = small_program(tmp_path / "small.pt2")
    rewritten(program, folder / "model.pt2", inputs=saved(Mark(mark)))
    message = "not a program that `export` wrote" if trust else "is a program, which can run any code when it is loaded"
    with pytest.raises(InputError, match=message) as caught:
        Predictor.from_folder(folder, trust_exported=trust)
    assert len(caught.value.problems) == 1 and not mark.exists()


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + bytes(100)], ids=["empty", "no zip", "truncated"])
def test_a_damaged_program_is_one_line(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.pt2").write_bytes(data)
    with pytest.raises(InputError, match=r"^[^\n]*model\.pt2: not a program that `export` wrote [^\n]*$"):
        Predictor.from_folder(folder, trust_exported=True)


def test_a_folder_from_before_a_setting_existed_is_what_it_was(folder: Path) -> None:
    """Half a pixel off, with a random reweight; its config.json does not say so."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    for section, name in (("foreground", "geometry"), ("attention", "reweight_start")):
        del document["model"][section][name]
    path.write_text(json.dumps(document))
    predictor = Predictor.from_folder(folder)
    config, model = predictor.config, predictor.model
    assert (config.foreground.geometry, config.attention.reweight_start) == ("unaligned", "random")
    assert not model.get_submodule("foreground.mask_roi_pool").aligned
    assert model.get_submodule("background.mam.reweight").most == 1.0
    path.write_text(json.dumps(document | {"model": {}}))
    with pytest.raises(InputError, match="does not fit"):
        Predictor.from_folder(folder)
