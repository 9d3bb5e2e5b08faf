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


def admits(flavor: dict[str, Any], pod: dict[str, Any], keys: set[str]) -> bool:
    """Whether Kueue may give a pod a flavor. As its flavorassigner, of affinities only what names a label of one."""
    labels = flavor["spec"]["nodeLabels"]
    tolerated = {toleration["key"] for toleration in pod.get("tolerations", [])}
    if not {taint["key"] for taint in flavor["spec"].get("nodeTaints", [])} <= tolerated:
        return False
    required = pod.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    fits = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values}
    terms = [
        all(
            fits[e["operator"]](labels.get(e["key"]), e["values"]) for e in term["matchExpressions"] if e["key"] in keys
        )
        for term in required.get("nodeSelectorTerms", [])
    ]
    selected = {key: value for key, value in pod.get("nodeSelector", {}).items() if key in keys}
    return (any(terms) or not terms) and selected.items() <= labels.items()


def quantity(amount: Any) -> float:
    """Of Kubernetes, as far as it is used here."""
    text = str(amount)
    if text.endswith("Gi"):
        return float(text.removesuffix("Gi")) * 2**30
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


@pytest.mark.parametrize("spot", [True, False])
def test_the_queue_has_room_for_every_pod_of_a_job(spot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that no flavor fits keeps its job in the queue for ever."""
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    documents = list(yaml.safe_load_all((DEPLOY / "kueue/queue.yaml").read_text()))
    flavors = {d["metadata"]["name"]: d for d in documents if d["kind"] == "ResourceFlavor"}
    (queue,) = [d["spec"] for d in documents if d["kind"] == "ClusterQueue"]
    (group,) = queue["resourceGroups"]
    quotas = {
        flavor["name"]: {r["name"]: quantity(r["nominalQuota"]) for r in flavor["resources"]}
        for flavor in group["flavors"]
    }
    assert flavors.keys() == quotas.keys()
    assert all(list(quota) == group["coveredResources"] for quota in quotas.values())
    keys = {key for flavor in flavors.values() for key in flavor["spec"]["nodeLabels"]}
    base = presets.coco_r50()
    changes = {"cluster.image": "registry.example.com/aunet:1.0.0", "data.root": "s3://b/coco", "train.num_workers": 16}
    config = override(base, {**changes, "cluster.spot": spot})
    spec = render_rayjob(submission(config, verb="train", preset="coco_r50", base=base))["spec"]
    cluster = spec["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    used = {name: dict.fromkeys(quota, 0.0) for name, quota in quotas.items()}
    chosen = []
    for number, template in [
        (1, spec["submitterPodTemplate"]),
        (1, cluster["headGroupSpec"]["template"]),
        (workers["replicas"], workers["template"]),
    ]:
        chosen.append(next(name for name in quotas if admits(flavors[name], template["spec"], keys)))
        for resource, amount in template["spec"]["containers"][0]["resources"]["requests"].items():
            used[chosen[-1]][resource] += number * quantity(amount)
    assert chosen == ["on-demand", "on-demand", "gpu-spot" if spot else "on-demand"]
    assert all(used[name][resource] <= quotas[name][resource] for name in quotas for resource in quotas[name])


def test_what_the_queue_admits_is_created() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kueue/queue.yaml").read_text()))
    (queue,) = [d["spec"] for d in documents if d["kind"] == "ClusterQueue"]
    resources = [r for group in queue["resourceGroups"] for flavor in group["flavors"] for r in flavor["resources"]]
    given = sum(r["nominalQuota"] for r in resources if r["name"] == "nvidia.com/gpu")
    limits = yaml.safe_load((DEPLOY / "base/quota.yaml").read_text())["spec"]["hard"]
    assert given <= int(limits["requests.nvidia.com/gpu"])


ALERTS = [
    rule
    for group in yaml.safe_load((DEPLOY / "observability/alerts.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]


def test_an_alert_of_a_job_that_is_kept_is_over_after_a_day() -> None:
    """A schedule keeps its last failed Jobs, and kube-state-metrics reports them as long as they are there."""
    (expression,) = [rule["expr"] for rule in ALERTS if "kube_job_status_failed" in rule["expr"]]
    failed, was_failed = expression.split(" unless ")
    assert was_failed.replace(" offset 1d", "") == failed and " offset 1d" in was_failed


def test_an_alert_of_a_schedule_is_over_when_that_is_suspended() -> None:
    running = 'and on (namespace, cronjob) kube_cronjob_spec_suspend{cronjob=~"retrain-.*"} == 0'
    idle = 'unless on (namespace, cronjob) kube_cronjob_status_active{cronjob=~"retrain-.*"} > 0'
    of_schedules = [rule for rule in ALERTS if "kube_cronjob_status" in rule["expr"]]
    assert len(of_schedules) == 2
    assert all(rule["expr"].endswith(f"{running} {idle}") for rule in of_schedules), "a long tick is no missing one"


def test_a_schedule_that_has_never_succeeded_is_told() -> None:
    """Before its first success there is no time of the last one."""
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "AUNetNoSuccessfulTick"]
    assert "kube_cronjob_created" in rule["expr"]


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
