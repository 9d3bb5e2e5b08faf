"""The command line: what reaches a verb, what comes back on stdout, and what every mistake is told."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aunet.errors import InputError, Refused
from jobs.__main__ import causes, main, result_line
from jobs.verbs import VERBS, presets
from pipelines.artifacts import Report

ROOT = Path(__file__).parent.parent.parent
METRICS = {"PQ": 39.6, "AP": float("nan")}


class Call:
    """Stands in for a verb's function and keeps what it was given."""

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}
        self.result: Any = {"PQ": 1.0}

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.args, self.options = args, options
        if isinstance(self.result, BaseException):
            raise self.result
        print("noise")
        return self.result


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Takes the place of every verb."""
    call = Call()
    for verb in VERBS.values():
        module = ModuleType(f"pipelines.{verb.function}")
        setattr(module, verb.function, call)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return call


def run(*words: str) -> tuple[int, str]:
    """Exit code and stdout of a command line, run in this process."""
    out = io.StringIO()
    return main(words, out), out.getvalue()


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


def test_options_reach_the_verb(verb: Call) -> None:
    code, out = run("train", "shapes_smoke", "--loss.semantic", "0.25", "--train.use-gpu=false")
    (config,) = verb.args
    assert (code, json.loads(out)) == (0, {"PQ": 1.0})
    assert (config.loss.semantic, config.train.use_gpu) == (0.25, False)


def test_tuples_none_and_nested_options(verb: Call) -> None:
    run("train", "shapes_smoke", "--augment.crop", "64", "96", "--train.ema", "None", "--data.shapes.seed", "7",
        "--fusion.relations", "tie", "person", "--model.attention.mam", "False")  # fmt: skip
    (config,) = verb.args
    assert config.augment.crop == (64, 96)
    assert config.train.ema is None
    assert config.data.shapes.seed == 7
    assert config.fusion.relations == (("tie", "person"),)
    assert config.model.attention.mam is False


def test_run_and_overrides(verb: Call, tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text('{"loss.semantic": 0.11, "train.seed": 3}')
    run("evaluate", "shapes_smoke", "--run", "s3://bucket/run", "--overrides", str(path), "--train.seed", "4")
    (config,) = verb.args
    assert verb.options == {"run": "s3://bucket/run"}
    assert (config.loss.semantic, config.train.seed) == (0.11, 4)


def test_predict_and_score(verb: Call) -> None:
    run("predict", "--model", "models:/aunet@champion", "--images", "in", "--out", "out", "--overlays")
    assert verb.options == {
        "model": "models:/aunet@champion", "images": "in", "out": "out", "overlays": True, "attention": False,
        "panoptic_json": None, "panoptic_dir": None, "image_info": None,
    }  # fmt: skip
    run("score", "--gt-json", "a", "--gt-dir", "b", "--pred-json", "c", "--pred-dir", "d")
    assert verb.options == {"gt_json": "a", "gt_dir": "b", "pred_json": "c", "pred_dir": "d"}


def test_an_artifact_is_one_line_with_its_metrics_on_top() -> None:
    report = Report(uri="u", fingerprint="f", metrics=METRICS, html_uri="h", overlays_uri="o")
    line = result_line(report)
    assert "\n" not in line
    assert json.loads(line)["metrics"] == {"PQ": 39.6, "AP": None}
    assert (json.loads(line)["PQ"], json.loads(line)["AP"]) == (39.6, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trayn", "shapes_smoke"], "unknown verb trayn; did you mean train?"),
        (["train", "shapes_smok"], "unknown preset shapes_smok; did you mean shapes_smoke?"),
        (["train", "shapes-smoke"], "did you mean shapes_smoke?"),
        (["train"], "no preset given; take one of"),
        (["train", "--train.lr", "1"], "no preset given; take one of"),
        (["train", "shapes_smoke", "--train.lrr", "1"], "unknown option --train.lrr; did you mean --train.lr?"),
        (["train", "shapes_smoke", "--seed=1"], "did you mean --data.shapes.seed or --train.seed or --tune.seed?"),
        (["train", "shapes_smoke", "--loss.semantic", "-1"], "loss.semantic = -1.0: a loss weight must not"),
        (["train", "shapes_smoke", "--loss.semantic", "abc"], "--loss.semantic: could not convert string to float"),
        (["train", "shapes_smoke", "--train.optimizer", "adam"], "invalid choice 'adam'"),
        (["train", "shapes_smoke", "--train.seed"], "Missing value for argument '--train.seed'"),
        (["train", "shapes_smoke", "stray"], "stray"),
        (["train", "shapes_smoke", "--overrides", "nowhere.json"], "--overrides nowhere.json: no such file"),
        (["predict", "--modle", "x"], "unknown option --modle; did you mean --model?"),
        (["score", "--gt-json", "a", "--gt-dir", "b", "--pred-json", "c"], "score: --pred-dir is missing"),
        ([], "no verb given"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_cure(
    verb: Call, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, _ = run(*words)
    told = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(told) == 1 and told[0].startswith("error: ") and said in told[0]
    assert not verb.args


def test_every_problem_has_its_line(verb: Call, capsys: pytest.CaptureFixture[str]) -> None:
    verb.result = InputError(["a.png: missing", "b.png:\n  wrong size"])
    assert run("preprocess", "shapes_smoke") == (2, "")
    assert errors(capsys) == ["error: a.png: missing", "error: b.png: wrong size"]


def test_a_wrapped_input_error_is_found(verb: Call, capsys: pytest.CaptureFixture[str]) -> None:
    class TaskError(Exception):
        def __init__(self, cause: Exception) -> None:
            self.cause = cause

    class TrainingFailed(Exception):
        def __init__(self, failures: dict[int, Exception]) -> None:
            self.worker_failures = failures

    chained = RuntimeError("outer")
    chained.__cause__ = TrainingFailed({0: ValueError("unrelated"), 1: TaskError(InputError("rank 1: no such file"))})
    verb.result = chained
    assert run("train", "shapes_smoke") == (2, "")
    assert errors(capsys) == ["error: rank 1: no such file"]


def test_causes_end_even_in_a_circle() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (Refused("needs 3 CPUs, the cluster has 2"), 3, "refused: needs 3 CPUs, the cluster has 2\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero\n"),
    ],
)
def test_other_endings(
    verb: Call, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, said: str
) -> None:
    verb.result = raised
    assert run("train", "shapes_smoke") == (code, "")
    told = capsys.readouterr().err
    assert told.endswith(said)
    assert ("Traceback" in told) == (code == 1)


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["train", "shapes_smoke", "--help"], ["score", "-h"]]
)
def test_help_is_quick_and_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys, io; from jobs.__main__ import main; out = io.StringIO(); code = main({words}, out)\n"
        "heavy = [name for name in ('torch', 'ray', 'mlflow', 'numpy', 'pyarrow') if name in sys.modules]\n"
        "print(code, heavy, len(out.getvalue()) > 200)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    took = time.monotonic() - started
    print(f"{' '.join(words)}: {took:.2f} s")
    assert (answer.stdout, answer.stderr) == ("0 [] True\n", "")
    assert took < 5, "far more than the half second promised, even on a busy machine"


def test_help_names_verbs_presets_and_settings() -> None:
    overview, preset = run("--help")[1], run("run", "shapes_smoke", "--help")[1]
    assert all(name in overview for name in (*VERBS, *presets()))
    assert "--loss.semantic FLOAT" in preset and "λ4" in preset and "--data.shapes.num_train" in preset


def test_stdout_holds_the_result_alone(tmp_path: Path) -> None:
    """As a process: what a verb prints, from Python or below it, goes to stderr."""
    (tmp_path / "pipelines").mkdir()
    for path in (ROOT / "pipelines").glob("*.py"):
        (tmp_path / "pipelines" / path.name).write_text(path.read_text())
    (tmp_path / "pipelines/train.py").write_text(
        "import os, subprocess\n"
        "def train(config):\n"
        "    print('from Python'); os.write(1, b'from below\\n'); subprocess.run(['echo', 'from a child'])\n"
        "    return {'PQ': 1.5}\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "jobs", "train", "shapes_smoke"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, '{"PQ": 1.5}\n'), answer.stderr
    assert sorted(answer.stderr.splitlines()) == ["from Python", "from a child", "from below"]
