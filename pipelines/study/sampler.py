"""Optuna's sampler, made a pure function of the finished trials. The only module that knows Optuna."""

from __future__ import annotations

from typing import Any

import optuna

STARTUP_TRIALS = 6
"""Finished or stopped trials before Optuna's estimate replaces random choice."""


class SeededByNumber(optuna.samplers.BaseSampler):
    """Optuna's TPE, drawing the random numbers of a trial from the search's seed and the trial's number alone."""

    def __init__(self, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.seed = seed
        self.current: tuple[int, Any] = (-1, None)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: Any) -> Any:
        """The sampler of one trial."""
        if self.current[0] != trial.number:
            seed = 1_000_003 * self.seed + trial.number
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)
            self.current = trial.number, sampler
        return self.current[1]
