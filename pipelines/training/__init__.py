"""One training run: its driver, its workers, a step, and what a run resumes from."""
