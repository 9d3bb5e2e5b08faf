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

MAY_IMPORT = {
    "aunet_ops": {"aunet_ops", "torch", "setuptools"},
    "aunet": {"aunet", "aunet_ops", "torch", "torchvision", "numpy", "PIL", "pycocotools", "safetensors"},
    "jobs": {"jobs", "pipelines", "aunet", "tyro", "rich", "yaml"},
}
"""What a package may import besides the standard library; `pipelines` may import anything but `jobs`."""

HOMES = {
    "mlflow": "tracking.py", "alembic": "tracking.py", "sqlalchemy": "tracking.py",
    "boto3": "s3.py", "botocore": "s3.py", "kfp": "targets/kubeflow.py", "kubernetes": "targets/kuberay.py",
    "optuna": "tune.py",
}  # fmt: skip
"""Libraries that one module of `pipelines` knows, for all others."""

RANKS = {
    "errors": 0, "categories": 1, "structures": 2, "config": 2, "config_json": 2, "losses": 3,
    "model": 4, "data": 4, "fusion": 4, "evaluation": 4, "drawing": 4, "drawing_attention": 5, "export": 5,
    "predictor": 6, "__init__": 7,
}  # fmt: skip
"""Inside aunet a part imports only parts of lower rank."""

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
    if top in HOMES and (package, str(file)) != ("pipelines", HOMES[top]):
        return f"{top} belongs to pipelines/{HOMES[top]} alone"
    if package == "pipelines":
        return "pipelines must not know jobs" if top == "jobs" else None
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


def violations(root: Path) -> list[str]:
    """Every import below `root` that points the wrong way."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            for line, name in imports(path):
                if wrong := complaint(package, path.relative_to(root / folder), name):
                    found.append(f"{path.relative_to(root)}:{line}: imports {name}: {wrong}")
    return found


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
        "PATH": os.environ["PATH"], "HOME": str(folder), "AUNET_STORE": str(folder / "store"),
        "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_imports_point_one_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "said"),
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
        ("pipelines/register.py", "import mlflow", "belongs to pipelines/tracking.py alone"),
        ("pipelines/train.py", "from botocore.config import Config", "belongs to pipelines/s3.py alone"),
        ("pipelines/run.py", "import kfp.dsl", "belongs to pipelines/targets/kubeflow.py alone"),
        ("jobs/verbs.py", "import torch", "jobs may import"),
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["at the top", "in a function"])
def test_a_planted_import_is_found(tmp_path: Path, file: str, line: str, said: str, inside: bool) -> None:
    for folder in PACKAGES.values():
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    with open(tmp_path / file, "a", encoding="utf-8") as planted:
        planted.write(f"\n\ndef planted():\n    {line}\n" if inside else f"\n{line}\n")
    found = violations(tmp_path)
    assert len(found) == 1 and found[0].startswith(file) and said in found[0]


def test_verbs_can_be_imported_without_their_libraries(tmp_path: Path) -> None:
    code = (
        "import sys, json, importlib; from jobs.verbs import VERBS, presets; presets()\n"
        "for verb in VERBS.values(): importlib.import_module(f'pipelines.{verb.function}')\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
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
    found = []
    for path in project_files():
        if not path.name.endswith(TEXT):
            continue
        text = path.read_text(encoding="utf-8")
        for what, pattern in PRIVATE.items():
            found += [
                f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()}"
                for match in re.finditer(pattern, text)
            ]
    assert found == []
