"""The Kubernetes API: how it is reached, and its refusals in words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from aunet.documents import read_object
from aunet.errors import InputError, Unavailable
from pipelines.store.addresses import check_server, masked
from pipelines.targets.timeouts import limit

T = TypeVar("T")


class PlainDumper(yaml.SafeDumper):
    """YAML without anchors, and with texts of several lines as people write them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Lines as lines."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


PlainDumper.add_representer(str, PlainDumper.represent_text)


def to_yaml(documents: list[Any]) -> str:
    """Documents as one YAML text, without anchors."""
    separate = len(documents) > 1
    return yaml.dump_all(documents, Dumper=PlainDumper, sort_keys=False, width=120, explicit_start=separate)


def api_of(kind: type[T]) -> T:
    """A group of the Kubernetes API, configured again each time: tokens expire."""
    named = os.environ.get("KUBECONFIG") or None
    cure = "set KUBECONFIG to a file such as `kubectl config view --raw` prints, or run inside the cluster"
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and named is None:
            config.load_incluster_config()
        else:
            _check_files(named or config.KUBE_CONFIG_DEFAULT_LOCATION)
            config.load_kube_config(named)
        check_server("the server in KUBECONFIG", str(client.Configuration.get_default_copy().host))
        group: Any = kind()
        limit(group.api_client)
        return group
    except InputError:
        raise
    except config.ConfigException as error:
        raise InputError(f"no Kubernetes cluster: {masked(' '.join(str(error).split()))[:300]}; {cure}") from None
    except (yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # The libraries' messages quote the file, which holds credentials.
        raise InputError(f"KUBECONFIG = {named or 'not set'}: not read ({type(error).__name__}); {cure}") from None


def _check_files(paths: str) -> None:
    """Refuse what could not be read, or would be read for ever."""
    for path in map(Path, filter(None, paths.split(os.pathsep))):
        if path.expanduser().exists() and not path.expanduser().is_file():
            raise InputError(f"KUBECONFIG = {path}: is not an ordinary file; name the file itself")


@contextlib.contextmanager
def unless(*statuses: int) -> Iterator[None]:
    """Leave the block quietly when the server answers with one of these."""
    try:
        yield
    except ApiException as error:
        if error.status not in statuses:
            raise


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turn the API server's refusals, and its silence, into an `Unavailable` of one line with the cure."""
    try:
        yield
    except ApiException as error:
        cures = {
            401: "log in again: the credentials of the kubeconfig are not accepted",
            403: "ask for the right, or use another --cluster.namespace",
            404: "install the KubeRay operator, 1.5.1 or newer, and create the namespace",
        }
        cure = cures.get(error.status or 0, "correct what it names and submit again")
        raise Unavailable(f"Kubernetes answered {error.status}: {_message(error)}; {cure}") from None
    except HTTPError as error:
        raise Unavailable(
            f"the Kubernetes API server does not answer ({type(error).__name__}); check KUBECONFIG"
        ) from error


def _message(error: ApiException) -> str:
    """What the server says, else the words of its status."""
    with contextlib.suppress(InputError, KeyError):
        return str(read_object(error.body or "", "the answer")["message"])[:300]
    return str(error.reason)
