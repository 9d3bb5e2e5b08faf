"""deploy/: what is applied to a cluster is valid, grants no more than the code uses, and fits what is rendered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import ClusterConfig
from pipelines.targets.rayjob import render_rayjob
from pipelines.targets.schedule import render_schedule
from pipelines.targets.submission import submission

DEPLOY = Path(__file__).parents[1] / "deploy"
KUBERNETES = "1.31"


def rendered(overlay: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, such as Debian's kubernetes-client")
    command = ["kubectl", "kustomize", str(DEPLOY / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("overlay", ["eks", "kind"])
def test_an_overlay_is_valid_and_in_one_namespace(overlay: str) -> None:
    documents = rendered(overlay)
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert document["metadata"].get("namespace", "aunet") == "aunet"
    assert {document["kind"] for document in documents} == {
        *("Namespace", "ServiceAccount", "Role", "RoleBinding", "ResourceQuota")
    }


def test_the_eks_overlay_gives_pods_a_role() -> None:
    accounts = {
        d["metadata"]["name"]: d["metadata"].get("annotations", {})
        for d in rendered("eks")
        if d["kind"] == "ServiceAccount"
    }
    assert set(accounts) == {"aunet", "aunet-submitter", "aunet-schedule", "aunet-steps"}
    assert [name for name, notes in accounts.items() if "eks.amazonaws.com/role-arn" not in notes] == [
        "aunet-submitter"
    ]


def rules(documents: list[dict[str, Any]], role: str) -> set[tuple[str, str]]:
    """Resource and verb of everything that a role allows."""
    (matching,) = [d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == role]
    return {(resource, verb) for rule in matching["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_no_role_allows_everything() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "base/rights.yaml").read_text()))
    for document in documents:
        assert "*" not in json.dumps(document) and document["kind"] in ("Role", "RoleBinding")
    jobs = rules(documents, "aunet-jobs")
    assert {verb for resource, verb in jobs if resource == "rayjobs"} == {"create", "get", "delete", "patch"}
    assert not [resource for resource, _ in jobs if resource == "secrets"]
    submitter = rules(documents, "aunet-submitter")
    assert jobs <= submitter
    assert {verb for resource, verb in submitter if resource == "rayservices"} == {"create", "get", "update"}


def test_a_submitter_may_grant_what_a_schedule_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes lets nobody grant rights that he does not have."""
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    base = presets.shapes_smoke()
    config = override(base, {"cluster.image": "registry.example.com/aunet:1.0.0"})
    role = render_schedule(submission(config, verb="retrain", preset="shapes_smoke", base=base))[1]
    documents = list(yaml.safe_load_all((DEPLOY / "base/rights.yaml").read_text()))
    assert rules([role], role["metadata"]["name"]) == rules(documents, "aunet-jobs")
    assert rules([role], role["metadata"]["name"]) <= rules(documents, "aunet-submitter")


def test_the_names_are_those_that_jobs_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    accounts = {d["metadata"]["name"] for d in yaml.safe_load_all((DEPLOY / "base/accounts.yaml").read_text())}
    secret = yaml.safe_load((DEPLOY / "secret.example.yaml").read_text())
    assert {ClusterConfig().service_account, f"{ClusterConfig().service_account}-schedule"} <= accounts
    assert secret["metadata"]["name"] == ClusterConfig().secret
    queue = list(yaml.safe_load_all((DEPLOY / "kueue/queue.yaml").read_text()))[-1]
    base = presets.shapes_smoke()
    changes = {"cluster.image": "registry.example.com/aunet:1.0.0", "cluster.queue": queue["metadata"]["name"]}
    job = render_rayjob(submission(override(base, changes), verb="train", preset="shapes_smoke", base=base))
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"


def test_the_template_of_the_secret_holds_none() -> None:
    secret = yaml.safe_load((DEPLOY / "secret.example.yaml").read_text())["stringData"]
    assert not [name for name, value in secret.items() if value and re.search("KEY|PASSWORD|TOKEN", name)]


class CloudFormation(yaml.SafeLoader):
    """Reads `!Ref X` and the like as {"Ref": "X"}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {suffix: loader.construct_sequence(node, deep=True)}


CloudFormation.add_multi_constructor("!", _short_form)


def test_instance_profiles_are_those_of_the_launcher_and_grant_the_least() -> None:
    template = yaml.load((DEPLOY / "aws/iam.yaml").read_text(), CloudFormation)
    resources = template["Resources"]
    profiles = {
        r["Properties"]["InstanceProfileName"] for r in resources.values() if r["Type"].endswith("InstanceProfile")
    }
    launcher = yaml.safe_load((DEPLOY.parent / "cluster.yaml").read_text())
    nodes = launcher["available_node_types"].values()
    assert profiles == {node["node_config"]["IamInstanceProfile"]["Name"] for node in nodes}
    policies = {
        name: r["Properties"]["PolicyDocument"] for name, r in resources.items() if r["Type"].endswith("Policy")
    }
    for policy in policies.values():
        for statement in policy["Statement"]:
            assert all(":" in action and "*" not in action for action in statement["Action"])
            free = all(action.startswith("ec2:Describe") for action in statement["Action"])
            assert statement["Resource"] != "*" or free or "Condition" in statement
    worker = json.dumps(resources["WorkerRole"])
    assert "Launch" not in worker and "Storage" in worker and "Token" in worker
    passed = [s for s in policies["Launch"]["Statement"] if "iam:PassRole" in s["Action"]]
    assert [statement["Resource"] for statement in passed] == [{"GetAtt": "WorkerRole.Arn"}]
