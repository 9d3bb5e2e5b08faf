"""Ray's stand-in for a provider of machines, with nodes that unpack the code of a job into a folder of their own.

In Ray's own they share one, as machines do not: a node that comes later deletes the folder in which the driver runs.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any
from unittest import mock

from ray._private.parameter import RayParams
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class ApartNodes(FakeMultiNodeProvider):
    """Nodes of this machine as processes."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: Any, resources: Any, labels: Any
    ) -> Any:
        own = partial(RayParams, runtime_env_dir_name=f"runtime_resources_{uuid.uuid4().hex[:8]}")
        with mock.patch("ray._private.parameter.RayParams", own):
            return super()._create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
