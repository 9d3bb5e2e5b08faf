"""A preset as Python: the text of its file, every setting under its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from aunet.names import printable
from pipelines.lint.proposal import Setting

WIDTH = 120
_FILE = '''"""The preset {name}. `new-preset` wrote it from a look at the data; it is yours: change what you like."""

from dataclasses import replace

{more}from pipelines.settings.overrides import override
from pipelines.settings.recipes import {recipes}
from pipelines.settings.run_config import DataConfig, RegisterConfig, RunConfig, SplitConfig


def {name}() -> RunConfig:
    """{summary}"""
    start = RunConfig(
        name="{name}",
        data=DataConfig(
            # A job on other machines needs a folder that they see too, or an address of object storage.
            root={root},
            train={train},
            val={val},
            rows_per_shard=64,
        ),
        {model}
        # Its own name in the registry, so that its models compete with each other and not with those of other data.
        register=RegisterConfig(model_name="{model_name}"),
        {machines}
    )
    settings = {{
{settings}
    }}
    return override(start, settings)
'''
_LITE0 = """# EfficientNet-Lite0 with ImageNet's weights, from an installed package.
        model=replace(small_network(), backbone=lite0()),"""
_ON_CPUS = """# Pods that fit into a laptop.
        cluster=laptop(),"""
_ON_GPUS = """# Two decoding processes beside each GPU, and pods of up to 8 GPUs with 4 CPUs for each.
        feed=beside_gpus(),
        cluster=ClusterConfig(gpus_per_node={n}, cpus_per_node={cpus}, memory_gb={memory}, shm_gb={cpus}),"""
_SMALL = """# From scratch: the package with a small backbone's weights is not installed (extra `samples`).
        model=small_network(),"""


def preset_text(
    *,
    name: str,
    summary: str,
    root: str,
    splits: Mapping[str, Mapping[str, Any]],
    settings: Sequence[Setting],
    model_name: str,
    pretrained: bool,
    gpus: int,
) -> str:
    """The file of a preset.

    Args:
        summary: one sentence, what help says of it.
        root: of the data.
        splits: of `train` and `val`, the fields of their `SplitConfig` that are not at their default.
        model_name: in the registry.
        pretrained: whether weights of a small backbone are installed.
        gpus: that train; 0: CPUs.
    """
    helpers = ["small_network", "beside_gpus" if gpus else "laptop", *(["lite0"] if pretrained else [])]
    text = _FILE.format(
        name=name,
        summary=summary,
        root=_text(root),
        train=_split(splits["train"]),
        val=_split(splits["val"]),
        model=_LITE0 if pretrained else _SMALL,
        recipes=", ".join(sorted(helpers)),
        more="from pipelines.settings.cluster_config import ClusterConfig\n" if gpus else "",
        machines=_ON_GPUS.format(n=n, cpus=4 * n, memory=24 * n) if (n := min(gpus, 8)) else _ON_CPUS,
        model_name=model_name,
        settings="\n".join(line for setting in settings for line in _setting(setting)),
    )
    return text if pretrained else text.replace("from dataclasses import replace\n\n", "")


def _setting(setting: Setting) -> list[str]:
    value = _text(setting.value) if isinstance(setting.value, str) else repr(setting.value)
    comment = textwrap.wrap(
        f"# {printable(setting.reason[:1].upper() + setting.reason[1:])}.", WIDTH - 8, subsequent_indent="# "
    )
    return [*(f"        {line}" for line in comment), f'        "{setting.name}": {value},']


def _split(fields: Mapping[str, Any]) -> str:
    lines = []
    for name, value in fields.items():
        if isinstance(value, str):
            lines.append(f"                {name}={_text(value)},")
            continue
        numbers = textwrap.wrap(", ".join(map(str, value)) + ",", WIDTH - 20)
        lines += [f"                {name}=(", *(f"                    {row}" for row in numbers), "                ),"]
    return "\n".join(["SplitConfig(", *lines, "            )"])


def _text(text: str) -> str:
    """A string in Python, in ASCII and double quotes, whatever is in it."""
    return '"' + ascii(text)[1:-1].replace('"', '\\"').replace("\\'", "'") + '"'
