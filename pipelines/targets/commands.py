"""A verb without a preset as a job: the same id, environment and targets as one with a preset."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from aunet.errors import InputError, check
from aunet.names import printable
from pipelines.runtime.code_version import check_code, code_version
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.settings.run_config import DataConfig, RunConfig, ShapesConfig, TrainConfig, fingerprint
from pipelines.store import storage
from pipelines.targets.patching import with_patch_text
from pipelines.targets.submission import Submission, check_credentials, travelling
from pipelines.tracking.address import is_registered

ARRIVES = re.compile(r"[\w./:@=,+% -]+")
"""A word that the shells between here and a cluster's process leave as it is."""


def command_submission(
    verb: str,
    words: Sequence[tuple[str, str]],
    cluster: ClusterConfig,
    workers: int | None = None,
    gpus: bool = False,
    code: str | None = None,
) -> Submission:
    """The job that runs a verb without a preset.

    Args:
        words: what follows the verb, each with the option whose address it is, else "".
        workers: processes that work at the same time on the cluster's nodes; None: the verb is one process, and uses no
            GPU.
        gpus: whether each of them has a GPU.
        code: as for `submission`.

    Raises:
        InputError: a word or a variable that would travel holds credentials, an address cannot be one, or the verb uses
            no GPU.
    """
    check_code(os.environ)
    check(not gpus or workers is not None, "--gpus", gpus, f"{verb} uses none; leave it out")
    number = workers or 1
    config = with_patch_text(
        RunConfig(
            name=verb,
            data=DataConfig(shapes=ShapesConfig()),
            train=TrainConfig(num_workers=number, batch_size=number, use_gpu=gpus),
            cluster=cluster,
        )
    )
    environment = travelling(os.environ)
    check_credentials(config, {**environment, **{option or word: word for word, option in words}})
    addresses = {option: word if is_registered(word) else storage.absolute(word) for word, option in words if option}
    sent = (verb, *(addresses.get(option, word) for word, option in words))
    code = code or code_version()
    id = f"{verb}-{fingerprint(sent, storage.store_root(), code)[:12]}"
    return Submission(id, config, verb, "", sent, environment, code, addresses)


def check_words(words: Sequence[str]) -> None:
    """Refuse words that a shell would change on their way to another machine.

    Raises:
        InputError: some hold characters that mean something to a shell.
    """
    if changed := [word for word in words if not ARRIVES.fullmatch(word)]:
        raise InputError(
            f"{printable(word)!r}: would not reach another machine as it is; use letters, digits, spaces and ./:@=,+%-_"
            for word in changed
        )
