"""The events of a run: dicts of plain values with `kind`, `step` and `at` (seconds since 1970), and more by kind.

- `step`, `evaluation`: `steps`, `epoch` and the figures;
- `checkpoint`: `name`, `seconds` and `bytes`; `warning`: `text`;
- `failure`: `rank`, `error` (what a worker raised) and `final` (whether it would be raised again);
- `origin` (of every driver): `prepared` (URI), `data` (fingerprint) and `code` (hash); `resume` (of rank 0, when a
  group of workers begins): `libraries`, `device`, `weights` and `weights_sha256` of a pretrained backbone;
- of the driver: `start`, `restart`, `wait`, `stop` and `end`, most with a `text` for people.
"""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]
