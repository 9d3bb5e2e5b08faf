"""What a job carries: a name for its work, a command that arrives as it was meant, no credentials."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from aunet.errors import InputError, Unavailable
from jobs.parsing import SENDABLE, parse
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.submit import submit
from pipelines.targets.submission import Submission, submission
from pipelines.targets.variables import TRAVELS
from tests.canaries import CANARY, URIS, VARIABLES, leaks

ROOT = Path(__file__).parents[3]


def job(
    config: RunConfig | None = None, verb: str = "train", run: str | None = None, code: str | None = None
) -> Submission:
    base = presets.shapes_smoke()
    return submission(config or base, verb=verb, preset="shapes_smoke", base=base, run=run, code=code)


def test_the_id_names_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    first = job().id
    assert re.fullmatch(r"train-shapes-smoke-[0-9a-f]{12}", first)
    assert job().id == first
    others = {
        job(verb="run").id,
        job(run="s3://bucket/runs/x").id,
        job(override(presets.shapes_smoke(), {"train.seed": 1})).id,
        job(code="0123456789ab").id,
    }
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/other")
    others.add(job().id)
    assert len(others | {first}) == 6


def test_a_folder_is_the_same_for_a_job_that_starts_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = presets.camvid_small()
    config = override(base, {"data.root": "my_data"})
    made = submission(config, verb="evaluate", preset="camvid_small", base=base, run="store/runs/one")
    assert made.addresses == {"--run": f"{tmp_path}/store/runs/one"} and made.words[-1] == made.addresses["--run"]
    assert json.loads(made.words[3]) == {"data.root": f"{tmp_path}/my_data"}


def test_what_is_said_of_a_named_run_arrives_even_where_the_preset_has_the_same() -> None:
    """It replaces what the run's model has."""
    base = presets.shapes_smoke()
    common = {"verb": "evaluate", "preset": "shapes_smoke", "base": base, "run": "s3://bucket/runs/one"}
    said, not_said = (submission(base, **common, keep=keep) for keep in ({"fusion.stuff_area": 64}, {}))
    assert json.loads(said.words[3]) == {"fusion.stuff_area": 64} == {"fusion.stuff_area": base.fusion.stuff_area}
    assert "--overrides" not in not_said.words and said.id != not_said.id


def test_another_cluster_is_the_same_work() -> None:
    assert job(override(presets.shapes_smoke(), {"cluster.memory_gb": 64, "cluster.image": "x:2"})).id == job().id


def test_every_id_is_a_name_for_kubernetes() -> None:
    for verb in SENDABLE:
        for preset, function in presets.PRESETS.items():
            name = submission(function(), verb=verb, preset=preset, base=function()).id
            assert len(name) <= 47 and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])", name)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=12) | st.sampled_from(
    [
        "$HOME `id` $(id)",
        "it's",
        'say "no"',
        "a\\",
        '\\"',
        "*?[a]",
        "{a,b}",
        "!x",
        "line\nline",
        "tab\tand  spaces",
        "%s;&|<>",
    ]
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "data.train.images": texts,
        "data.val": st.builds(
            lambda name, ids: {**to_json(presets.shapes_smoke().data.val), "images": name, "image_ids": ids},
            texts,
            st.lists(st.integers(0, 9), max_size=3),
        ),
        "data.shapes": st.none(),
        "augment.crop": st.sampled_from([None, [64, 96]]),
        "augment.scale": st.sampled_from([[0.5, 2.0], [1e-3, 1.0]]),
        "train.ema": st.sampled_from([None, 0.9]),
        "train.use_gpu": st.booleans(),
        "train.lr": st.floats(1e-8, 1e3),
        "version": texts,
    },
)


def parsed(words: list[str]) -> RunConfig:
    return parse(words, io.StringIO())[1].config


def changed_preset(changed: dict) -> RunConfig:
    start = presets.shapes_smoke()
    return override(replace(start, data=replace(start.data, root="s3://data/it's")), changed)


@settings(max_examples=20)
@given(changes)
def test_the_words_give_the_same_configuration(changed: dict) -> None:
    config = changed_preset(changed)
    sent = job(config)
    assert parsed(list(sent.words)) == config
    assert parsed(shlex.split(sent.command("python"))[3:]) == config


def printed(script: str, shell: str) -> list[str]:
    """The words that a shell makes of `PRINT word …`."""
    program = f"{sys.executable} -c 'import sys; print(*sys.argv[1:], sep=chr(0), end=\"\")'"
    done = subprocess.run(
        [shell, "-c", script.replace("PRINT", program, 1)], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")


@settings(max_examples=25)
@given(changes)
def test_the_words_pass_through_the_shells_of_ray_and_kuberay(changed: dict) -> None:
    """Ray's Jobs API hands the command to sh; KubeRay writes it into a bash script, whose words Ray joins anew."""
    sent = job(changed_preset(changed))
    command = sent.command("PRINT")
    assert printed(command, "sh") == ["-m", "jobs", *sent.words]
    by_bash = printed(f"PRINT {command.removeprefix('PRINT')}", "bash")
    assert printed(f"PRINT {subprocess.list2cmdline(by_bash)}", "sh") == ["-m", "jobs", *sent.words]


def test_addresses_travel_and_keys_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {
        "AUNET_STORE": "s3://bucket/store",
        "AUNET_COCO": "s3://data/coco",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "AWS_ENDPOINT_URL": "http://s3:9000",
        "AWS_REGION": "eu-west-1",
    }
    for name, value in (addresses | VARIABLES | {"AUNET_UNKNOWN": "x"}).items():
        monkeypatch.setenv(name, value)
    carried = dict(job().environment)
    assert addresses.items() <= carried.items()
    assert carried.keys() <= set(TRAVELS) and "AUNET_UNKNOWN" not in carried
    assert leaks(str(job())) == []


TARGETS: dict[str, str] = {
    "local": "train",
    "ray": "train",
    "kuberay": "train",
    "schedule": "retrain",
    "kubeflow": "run",
}


def dry_run(target: str) -> str:
    """All that a dry run shows, or the reason why it is refused."""
    base = presets.shapes_smoke()
    named = "kuberay" if target == "schedule" else target
    try:
        sent = submit(base, verb=TARGETS[target], preset="shapes_smoke", base=base, target=named, dry_run=True)
        return sent.text + str(sent.to_json()) + str(sent)
    except (InputError, Unavailable) as refused:
        return str(refused)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", ["AUNET_STORE", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "RAY_ADDRESS", "AUNET_COCO"]
)
def test_a_manifest_holds_no_credentials(
    name: str, target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    for secret, value in VARIABLES.items():
        monkeypatch.setenv(secret, value)
    for uri in URIS.values():
        monkeypatch.setenv(name, uri)
        assert leaks(dry_run(target) + capsys.readouterr().err) == []


@pytest.mark.parametrize("shape", URIS)
@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AUNET_COCO"])
def test_a_uri_with_credentials_is_refused(name: str, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, URIS[shape])
    with pytest.raises(InputError, match=rf"{name}: .*cluster\.secret names") as refused:
        job()
    assert leaks(str(refused.value)) == []


def test_settings_with_credentials_are_refused() -> None:
    config = presets.shapes_smoke()
    data = replace(config.data, root=f"s3://key:{CANARY}@bucket/x")
    with pytest.raises(InputError, match=r"data\.root: .*credentials"):
        job(replace(config, data=data))
    with pytest.raises(InputError, match=r"--run: .*credentials"):
        job(run=f"s3://key:{CANARY}@bucket/x")


def test_ordinary_uris_are_not_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("postgresql://mlflow@db:5432/mlflow", "s3://bucket/models@v2/x", "sqlite:////data/mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert job().environment["MLFLOW_TRACKING_URI"] == uri
    assert Path(job().environment["AUNET_STORE"]).is_absolute()
