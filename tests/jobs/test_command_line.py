"""The command line: what reaches a verb, what comes back on stdout, and the message for every mistake."""

import dataclasses
import inspect
import io
import json
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError, Refused
from jobs.__main__ import json_line, main
from jobs.parsing import SENDABLE, parse
from jobs.verbs import VERBS, Outcome
from pipelines.presets import shapes_smoke
from pipelines.store.artifacts import Report, VerbResult

ROOT = Path(__file__).parent.parent.parent
METRICS = {"PQ": 39.6, "AP": float("nan")}


@dataclasses.dataclass(frozen=True)
class Quality(VerbResult):
    """A verb's result."""

    PQ: float = 1.0


@dataclasses.dataclass(frozen=True)
class Manifest(Quality):
    """A result with a document that reports a problem."""

    @property
    def text(self) -> str:
        return "kind: Job\n"

    @property
    def exit_code(self) -> int:
        return 2


class Call:
    """Stands in for a verb's function and keeps what it was given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.outcome: VerbResult | BaseException = Quality()

    def __call__(self, **given: Any) -> VerbResult:
        self.given = given
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        print("noise")
        return self.outcome

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and stdout of a command line, run in this process."""
        out = io.StringIO()
        return main(words, out, function=self), out.getvalue()


@pytest.fixture
def verb() -> Call:
    return Call()


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


def test_options_reach_the_verb(verb: Call) -> None:
    code, out = verb.run("train", "shapes_smoke", "--loss.semantic", "0.25", "--train.use-gpu=false")
    assert verb.given.keys() == {"config"}
    config = verb.given["config"]
    assert (code, json.loads(out)) == (0, {"PQ": 1.0})
    assert (config.loss.semantic, config.train.use_gpu) == (0.25, False)


def test_tuples_none_and_nested_options(verb: Call) -> None:
    words = "--augment.crop 64 96 --train.ema None --data.shapes.seed 7 --fusion.relations tie person sky sea"
    more = "--model.attention.mam False --model.attention.mask_size 14 --augment.short_sides=600 640 --name None"
    verb.run("train", "shapes_smoke", *words.split(), *more.split())
    config = verb.given["config"]
    assert config.augment.crop == (64, 96)
    assert config.train.ema is None
    assert config.data.shapes.seed == 7
    assert config.fusion.relations == (("tie", "person"), ("sky", "sea"))
    assert config.model.attention.mam is False
    assert config.model.attention.mask_size == 14
    assert config.augment.short_sides == (600, 640)
    assert config.name == "None"
    verb.run(
        "train", "coco_r50", "--fusion.relations", "--augment.crop", "None", "--train.seed", "1", "--train.seed", "2"
    )
    config = verb.given["config"]
    assert (config.fusion.relations, config.augment.crop, config.train.seed) == ((), None, 2)


def test_run_and_overrides(verb: Call, tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text('{"loss.semantic": 0.11, "train.seed": 3}')
    words = f"--run s3://bucket/run --overrides {path} --train.seed 4 --fusion.score_threshold 0.5".split()
    verb.run("evaluate", "shapes_smoke", *words)
    config = verb.given.pop("config")
    of_inference = {"fusion.score_threshold": 0.5}  # as the preset, but said
    assert verb.given == {"run": "s3://bucket/run", "changes": of_inference}
    assert (config.loss.semantic, config.train.seed) == (0.11, 4)
    verb.run("submit", "evaluate", "shapes_smoke", *words)
    assert verb.given["keep"] == of_inference


def test_predict_and_score(verb: Call) -> None:
    verb.run("predict", "--model", "models:/aunet@champion", "--images", "in", "--out", "out", "--overlays")
    files = {"model": "models:/aunet@champion", "images": "in", "out": "out", "image_info": None}
    truth = {"panoptic_json": None, "panoptic_dir": None}
    defaults = {"attention": False, "trust_exported": False, "max_pixels": None, "workers": None}
    server = {"submission": None, "submission_kind": "coco"}
    assert verb.given == {**files, **truth, **defaults, **server, "overlays": True}
    verb.run("score", "--gt-json", "a", "--gt-dir", "b", "--pred-json", "c", "--pred-dir", "d")
    assert verb.given == {"gt_json": "a", "gt_dir": "b", "pred_json": "c", "pred_dir": "d", "workers": None}


def test_operands_and_switches(verb: Call) -> None:
    verb.run("verify", "store")
    assert verb.given == {"uri": "store"}
    verb.run("gc", "--dry-run", "--older-than-hours", "-1")
    assert verb.given == {"dry_run": True, "older_than_hours": -1}
    verb.run("submit", "train", "shapes_smoke", "--train.seed", "3", "--wait", "--dry-run", "false", "--target=ray")
    config = verb.given.pop("config")
    where = {"target": "ray", "wait": True, "dry_run": False, "now": False}
    work = {"verb": "train", "preset": "shapes_smoke", "base": shapes_smoke(), "run": None, "keep": {}}
    assert verb.given == {**work, **where}
    assert config.train.seed == 3


def test_every_function_accepts_its_options() -> None:
    """What a verb is called with is what its function is written for."""
    needed = {"uri": "store", "id": "x", "verb": "train", "preset": "shapes_smoke", "config": shapes_smoke()}
    for verb in VERBS.values():
        names = [
            field.name
            for field in dataclasses.fields(verb.options)
            if field.default is field.default_factory is dataclasses.MISSING
        ]
        options = verb.options(**{name: needed.get(name, "x") for name in names})
        inspect.signature(verb.function()).bind(**options.arguments())


def test_a_text_comes_before_the_result_and_the_exit_code_is_the_result_s(verb: Call) -> None:
    verb.outcome = Manifest()
    assert verb.run("doctor") == (2, 'kind: Job\n{"PQ": 1.0}\n')
    plain, options = parse(["doctor"], io.StringIO())
    assert plain.call(options, verb) == Outcome({"PQ": 1.0}, "kind: Job\n", 2)


def test_an_artifact_is_one_line_with_its_metrics_on_top() -> None:
    report = Report(uri="u", fingerprint="f", metrics=METRICS, html_uri="h", overlays_uri="o")
    line = json_line(report.to_json())
    assert "\n" not in line
    assert json.loads(line)["metrics"] == {"PQ": 39.6, "AP": None}
    assert (json.loads(line)["PQ"], json.loads(line)["AP"]) == (39.6, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trayn", "shapes_smoke"], "unknown verb trayn; did you mean train?"),
        (["train", "shapes_smok"], "unknown preset shapes_smok; did you mean shapes_smoke?"),
        (["train", "shapes-smoke"], "did you mean shapes_smoke?"),
        (["train"], "no preset given; choose one of"),
        (["train", "--train.lr", "1"], "no preset given; choose one of"),
        (["submit", "trayn", "shapes_smoke"], "unknown verb trayn; did you mean train?"),
        (["submit", "submit", "shapes_smoke"], "submit submit: it sends the others; name the verb"),
        (["verify"], "verify: no uri given; usage: python -m jobs verify URI"),
        (["train", "shapes_smoke", "--train.lrr", "1"], "unknown option --train.lrr; did you mean --train.lr?"),
        (["train", "shapes_smoke", "--seed=1"], "did you mean --data.shapes.seed or --train.seed or --tune.seed?"),
        (["train", "shapes_smoke", "--loss.semantic", "-1"], "loss.semantic = -1.0: use a number at least 0"),
        (["train", "shapes_smoke", "--loss.semantic", "abc"], "--loss.semantic = 'abc': give a value of type float"),
        (["train", "shapes_smoke", "--train.epochs", "2.5"], "--train.epochs = '2.5': give a value of type int"),
        (["train", "shapes_smoke", "--train.use_gpu", "maybe"], "--train.use_gpu = 'maybe': give a value of type bool"),
        (["train", "shapes_smoke", "--train.optimizer", "adam"], "--train.optimizer = 'adam': "),
        (["train", "shapes_smoke", "--train.optimizer", "adam"], "one of 'sgd', 'adamw'"),
        (["train", "shapes_smoke", "--train.seed"], "--train.seed has no value: give one value of type INT"),
        (["train", "shapes_smoke", "--train.lr", "1", "2"], "--train.lr = '1 2': give one value of type FLOAT"),
        (["train", "shapes_smoke", "--augment.crop", "1"], "--augment.crop = [1]: give 2 values"),
        (["train", "shapes_smoke", "--fusion.relations", "a"], "--fusion.relations = ['a']: give 2 values"),
        (["train", "shapes_smoke", "--data.shapes", "None"], "did you mean --data.shapes.seed?"),
        (["train", "coco_r50", "--data.shapes", "x"], "--data.shapes = 'x': give an object with the fields"),
        (
            ["train", "shapes_smoke", "stray"],
            "stray: not expected here; all options: python -m jobs train shapes_smoke",
        ),
        (["train", "shapes_smoke", "--overrides"], "--overrides has no value"),
        (["train", "shapes_smoke", "--overrides", "nowhere.json"], "--overrides nowhere.json: no such file"),
        (["predict", "--modle", "x"], "unknown option --modle; did you mean --model?"),
        (["score", "--gt-json", "a", "--gt-dir", "b", "--pred-json", "c"], "score: --pred-dir is missing"),
        (["gc", "--dry-run", "yes"], "--dry-run = 'yes': give a value of type bool"),
        (["submit", "train", "shapes_smoke", "--target", "moon"], "--target = 'moon': "),
        ([], "no verb given"),
    ],
)
def test_a_mistake_is_one_line_with_its_cure(
    verb: Call, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, _ = verb.run(*words)
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not verb.given


def test_several_mistakes_are_several_lines(verb: Call, capsys: pytest.CaptureFixture[str]) -> None:
    verb.run("train", "shapes_smoke", "--train.lr", "fast", "--train.epochs", "2.5", "--train.seed", "3")
    assert errors(capsys) == [
        "error: --train.lr = 'fast': give a value of type float",
        "error: --train.epochs = '2.5': give a value of type int",
    ]
    verb.run("predict", "--model", "--out", "x")
    assert errors(capsys) == [
        "error: --model has no value: give one value of type TEXT",
        "error: predict: --images is missing; give all of --model, --images, --out",
    ]
    verb.run("train", "shapes_smoke", "--train.lrr", "1", "--train.sead", "1")
    assert [line.split(";")[0] for line in errors(capsys)] == [
        "error: unknown option --train.lrr",
        "error: unknown option --train.sead",
    ]
    assert not verb.given


def test_every_problem_has_its_line(verb: Call, capsys: pytest.CaptureFixture[str]) -> None:
    verb.outcome = InputError(["a.png: missing", "b.png:\n  wrong size"])
    assert verb.run("preprocess", "shapes_smoke") == (2, "")
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
    verb.outcome = chained
    assert verb.run("train", "shapes_smoke") == (2, "")
    assert errors(capsys) == ["error: rank 1: no such file"]


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (Refused("needs 3 CPUs, the cluster has 2"), 3, "refused: needs 3 CPUs, the cluster has 2\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero\n"),
    ],
)
def test_other_endings(
    verb: Call, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, message: str
) -> None:
    verb.outcome = raised
    assert verb.run("train", "shapes_smoke") == (code, "")
    printed = capsys.readouterr().err
    assert printed.endswith(message)
    assert ("Traceback" in printed) == (code == 1)


def test_what_can_be_sent() -> None:
    assert SENDABLE == ["preprocess", "train", "evaluate", "register", "run", "tune", "retrain", "plan"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "submit train shapes_smoke --cluster.env A=1 --cluster.env B=2",
            "--cluster.env is given 2 times; write all of",
        ),
        (
            "train shapes_smoke --cluster.pull-secrets a --cluster.pull_secrets b",
            "--cluster.pull_secrets is given 2 times",
        ),
        ("import-data labelme --data in --out out --things", "--things is empty; is a variable unset?"),
    ],
)
def test_nothing_that_was_typed_is_lost(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split(), io.StringIO()) == 2
    assert message in capsys.readouterr().err
