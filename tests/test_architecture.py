"""Imports point one way, nothing works at import, files stay small, and nothing private is left in the text."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "aunet_ops": Path("ops/aunet_ops"),
    "aunet": Path("aunet"),
    "pipelines": Path("pipelines"),
    "jobs": Path("jobs"),
}

COCO_LIBRARIES = ("hotcoco", "pycocotools", "simplejpeg")
MAY_IMPORT = {
    "aunet_ops": {"aunet_ops", "torch", "numpy", "setuptools"},
    "aunet": {"aunet", "aunet_ops", "torch", "torchvision", "numpy", "PIL", "safetensors", *COCO_LIBRARIES},
    "jobs": {"jobs", "pipelines", "aunet"},
}
"""What a package may import besides the standard library; `pipelines` may import anything but `jobs`."""

HOMES = {
    "mlflow": "tracking/",
    "alembic": "tracking/",
    "sqlalchemy": "tracking/",
    "boto3": "store/s3.py",
    "botocore": "store/s3.py",
    "kfp": "targets/kubeflow",
    "kubernetes": "targets/kuberay",
    "optuna": "study/sampler.py",
}
"""Libraries that one module or room of `pipelines` knows, for all others."""

ROOMS = {
    "settings": 0,
    "pages": 0,
    "store": 1,
    "runtime": 2,
    "data": 3,
    "tracking": 3,
    "measuring": 4,
    "training": 5,
    "study": 6,
    "targets": 6,
    "serving": 6,
    "checks": 6,
    "lint": 6,
    "verbs": 7,
}
"""Inside pipelines a room imports only rooms of lower rank. The modules at the top are one room, the verbs."""
COMPOSING = {"run", "retrain", "plan", "preview", "reproduce"}
"""Verbs that call other verbs."""

LAYERS = (
    ("errors",),
    ("names", "documents", "ranges", "model_files"),
    ("categories", "segments", "image_sized", "torch_files"),
    ("structures", "config", "config_json"),
    ("losses",),
    ("model", "data", "fusion", "evaluation", "drawing"),
    ("drawing_attention", "export", "saved_network"),
    ("predictor",),
    ("__init__",),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
"""Inside aunet a module imports only modules of lower layers."""

HEAVY = ("torch", "ray", "mlflow", "pyarrow", "boto3")
MAX_LINES = 300
CODE = (".py", ".cpp", ".cu", ".cuh", ".h")
TEXT = (*CODE, ".toml", ".txt", ".md", ".yaml", ".yml", ".json", ".sh", "Makefile", "Dockerfile")
PRIVATE = {
    "a path of one machine": r"/(?:home|root|Users)/\w|/work/(?:main|shared)|/opt/(?:pypi|wheels)",
    "a package index": r"(?:pypi|pythonhosted)\.org|--(?:extra-)?index-url\s+\S",
    "a secret": r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY",
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def complaint(package: str, file: Path, name: str) -> str | None:
    """What is wrong with `package`'s `file` (relative to the package) importing `name`; None when it may."""
    top, *rest = name.split(".")
    if name.startswith("."):
        return "relative import; write the full name"
    if top in HOMES and not (package == "pipelines" and str(file).startswith(HOMES[top])):
        return f"{top} belongs to pipelines/{HOMES[top]} alone"
    if package == "pipelines":
        if top == "jobs":
            return "pipelines must not know jobs"
        return room_complaint(file, rest[0]) if top == "pipelines" and rest else None
    if top not in MAY_IMPORT[package] and top not in sys.stdlib_module_names:
        return f"{package} may import {', '.join(sorted(MAY_IMPORT[package]))}"
    if package == "aunet" == top and rest:
        own = file.parts[0].removesuffix(".py")
        if own not in RANKS or rest[0] not in RANKS:
            missing = own if own not in RANKS else rest[0]
            return f"aunet.{missing} has no rank; give it one in {Path(__file__).name}"
        if own != rest[0] and RANKS[own] <= RANKS[rest[0]]:
            return f"aunet.{own} must not know aunet.{rest[0]}"
    return None


def room_of(name: str) -> str:
    """The room of a folder or module at the top of pipelines."""
    return name if name in ROOMS else "verbs"


def room_complaint(file: Path, name: str) -> str | None:
    """What is wrong with a `file` of pipelines importing `pipelines.<name>`; None when it may."""
    own, other = room_of(file.parts[0]), room_of(name)
    if len(file.parts) > 1 and own == "verbs":
        return f"pipelines/{file.parts[0]} has no rank; give it one in {Path(__file__).name}"
    if own == other == "verbs":
        verb = file.stem
        return None if verb in COMPOSING or verb == name else f"the verb {verb} must not know the verb {name}"
    if own != other and ROOMS[own] <= ROOMS[other]:
        return f"pipelines/{own} must not know pipelines/{other}"
    if file.name == "presets.py" and other != "settings":
        return "presets are settings and nothing else"
    return None


def arrows() -> dict[str, set[str]]:
    """Room of pipelines → the other rooms that it imports."""
    imported: dict[str, set[str]] = {room: set() for room in ROOMS}
    folder = ROOT / PACKAGES["pipelines"]
    for path in sorted(folder.rglob("*.py")):
        own = room_of(path.relative_to(folder).parts[0])
        for _, name in imports(path):
            top, *rest = name.split(".")
            if top == "pipelines" and rest and (other := room_of(rest[0])) != own:
                imported[own].add(other)
    return imported


def violations(root: Path) -> list[str]:
    """Every import below `root` that points the wrong way."""
    wrong_imports = []
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            for line, name in imports(path):
                if wrong := complaint(package, path.relative_to(root / folder), name):
                    wrong_imports.append(f"{path.relative_to(root)}:{line}: imports {name}: {wrong}")
    return wrong_imports


def project_files() -> list[Path]:
    """Files of the project's own, by what git would take, or everything where this is no git checkout."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    names = answer.stdout.splitlines() if answer.returncode == 0 else map(str, _walk())
    return [path for name in names if (path := ROOT / name).is_file()]


def _walk() -> Iterator[Path]:
    skip = {".git", ".venv", "store", "build", "dist", "__pycache__", ".hypothesis", ".pytest_cache", ".ruff_cache"}
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in skip and not name.endswith(".egg-info")]
        yield from (Path(folder, file).relative_to(ROOT) for file in files)


def in_fresh_process(code: str, folder: Path) -> dict:
    """What `code` prints as JSON, run in an empty folder with an empty home."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AUNET_STORE": str(folder / "store"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_imports_point_one_way() -> None:
    assert violations(ROOT) == []


def test_the_house_has_few_rooms_and_arrows(capsys: pytest.CaptureFixture[str]) -> None:
    imported = arrows()

    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in imported[room]), default=0)

    floors = max(map(floor, imported))
    num_arrows = sum(map(len, imported.values()))
    with capsys.disabled():
        print(f"\npipelines: {len(imported)} rooms on {floors} floors, {num_arrows} arrows between them")
        for room in sorted(imported, key=lambda name: (-floor(name), name)):
            print(f"  floor {floor(room)}  {room} → {', '.join(sorted(imported[room])) or '–'}")
    assert len(imported) <= 14 and floors <= 8 and num_arrows <= 48


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("aunet/fusion.py", "import ray", "aunet may import"),
        ("aunet/fusion.py", "from pipelines import storage", "aunet may import"),
        ("aunet/fusion.py", "from aunet.model import build_model", "must not know aunet.model"),
        ("aunet/losses.py", "import aunet.predictor", "must not know aunet.predictor"),
        ("aunet/categories.py", "from aunet import config", "must not know aunet.config"),
        ("aunet/data/sample.py", "from aunet.evaluation.overlap import x", "must not know aunet.evaluation"),
        ("aunet/fusion.py", "from .model import build_model", "relative import"),
        ("ops/aunet_ops/reference.py", "from aunet.errors import InputError", "aunet_ops may import"),
        ("pipelines/presets.py", "from jobs.verbs import VERBS", "must not know jobs"),
        ("pipelines/register.py", "import mlflow", "belongs to pipelines/tracking/ alone"),
        ("pipelines/train.py", "from botocore.config import Config", "belongs to pipelines/store/s3.py alone"),
        ("pipelines/store/storage.py", "from pipelines.data.manifest import x", "store must not know pipelines/data"),
        ("pipelines/data/rows.py", "from pipelines.tracking import runs", "data must not know pipelines/tracking"),
        ("pipelines/training/step.py", "import pipelines.study.search", "training must not know pipelines/study"),
        ("pipelines/study/search.py", "from pipelines.tune import tune", "study must not know pipelines/verbs"),
        ("pipelines/evaluate.py", "from pipelines.train import train", "the verb evaluate must not know the verb"),
        ("pipelines/presets.py", "from pipelines.store import storage", "presets are settings and nothing else"),
        ("pipelines/run.py", "import kfp.dsl", "belongs to pipelines/targets/kubeflow alone"),
        ("jobs/verbs.py", "import torch", "jobs may import"),
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["at the top", "in a function"])
def test_a_planted_import_is_found(tmp_path: Path, file: str, line: str, message: str, inside: bool) -> None:
    for folder in PACKAGES.values():
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    with open(tmp_path / file, "a", encoding="utf-8") as planted:
        planted.write(f"\n\ndef planted():\n    {line}\n" if inside else f"\n{line}\n")
    wrong = violations(tmp_path)
    assert len(wrong) == 1 and wrong[0].startswith(file) and message in wrong[0]


def test_the_command_line_is_read_without_the_libraries(tmp_path: Path) -> None:
    code = f"import sys, json, jobs.__main__\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert in_fresh_process(code, tmp_path) == []


def test_a_plan_is_made_without_the_network_and_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys, json, pipelines.plan, pipelines.train, pipelines.evaluate, pipelines.preprocess, pipelines.tune\n"
        "print(json.dumps([name for name in ('torch', 'ray', 'mlflow', 'boto3') if name in sys.modules]))"
    )
    assert in_fresh_process(code, tmp_path) == []


def test_nothing_happens_at_import(tmp_path: Path) -> None:
    names = [
        ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts])
        for package, folder in PACKAGES.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("__main__.py", "__init__.py")
    ]
    code = (
        "import importlib, json, threading\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "import ray, torch\n"
        "print(json.dumps({'ray': ray.is_initialized(), 'cuda': torch.cuda.is_initialized(),\n"
        "  'device': str(torch.get_default_device()), 'threads': threading.active_count()}))"
    )
    state = in_fresh_process(code, tmp_path)
    assert state == {"ray": False, "cuda": False, "device": "cpu", "threads": 1}
    left = [path for path in tmp_path.rglob("*") if path.is_file() or path.name == "store"]
    assert left == [], "a module writes files when it is imported"


def test_files_stay_small() -> None:
    code = [path for path in project_files() if path.suffix in CODE]
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in code}
    assert {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_nothing_private_is_left_in_the_text() -> None:
    private = []
    for path in project_files():
        if not path.name.endswith(TEXT):
            continue
        text = path.read_text(encoding="utf-8")
        for what, pattern in PRIVATE.items():
            private += [
                f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()}"
                for match in re.finditer(pattern, text)
            ]
    assert private == []
