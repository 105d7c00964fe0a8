"""The templates of clusters give no right that their containers do not need."""

import copy
import re
from pathlib import Path

import pytest
import yaml

PLACE = Path(__file__).parents[2] / "launch/flink"
COMPOSE = yaml.safe_load((PLACE / "compose.yaml").read_text(encoding="utf-8"))
DEPLOYMENT, POLICY = yaml.safe_load_all((PLACE / "kubernetes.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (PLACE / "Dockerfile").read_text(encoding="utf-8")


def compose_faults(compose):
    """What a container of compose may do that it need not."""
    found = set()
    for name, service in compose["services"].items():
        wrong = {
            "root": service.get("user", "root").partition(":")[0] in ("root", "0"),
            "privileged": service.get("privileged", False),
            "capabilities": service.get("cap_drop") != ["ALL"] or service.get("cap_add"),
            "new privileges": "no-new-privileges:true" not in service.get("security_opt", ()),
            "writable root": service.get("read_only") is not True,
            "host": {"network_mode", "pid", "ipc", "devices"} & service.keys(),
            "open port": any(not port.startswith("127.0.0.1:") for port in service.get("ports", ())),
            "docker's socket": "docker.sock" in str(service.get("volumes", "")),
        }
        found |= {f"{name}: {fault}" for fault, there in wrong.items() if there}
    return found


def pod_faults(pod):
    """The same of a pod of Kubernetes."""
    rights, containers = pod.get("securityContext", {}), pod["containers"]
    wrong = {
        "token": pod.get("automountServiceAccountToken") is not False,
        "root": rights.get("runAsNonRoot") is not True or not rights.get("runAsUser"),
        "seccomp": rights.get("seccompProfile") != {"type": "RuntimeDefault"},
        "host": {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
        "host's folder": any("hostPath" in volume for volume in pod.get("volumes", ())),
    }
    for container in containers:
        own = container.get("securityContext", {})
        wrong |= {
            "privileged": own.get("privileged", False),
            "new privileges": own.get("allowPrivilegeEscalation") is not False,
            "writable root": own.get("readOnlyRootFilesystem") is not True,
            "capabilities": own.get("capabilities") != {"drop": ["ALL"]},
            "host's port": any("hostPort" in port for port in container.get("ports", ())),
        }
    return {fault for fault, there in wrong.items() if there}


def test_containers_of_compose_have_least_rights_and_listen_to_this_machine_only():
    assert compose_faults(COMPOSE) == set()


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        *(("user", "root", "root"), ("user", "0:0", "root"), ("privileged", True, "privileged")),
        *(("cap_drop", [], "capabilities"), ("cap_add", ["NET_RAW"], "capabilities")),
        *(("security_opt", [], "new privileges"), ("read_only", False, "writable root")),
        *(("ports", ["8081:8081"], "open port"), ("ports", ["0.0.0.0:1:1"], "open port")),
        *(("network_mode", "host", "host"), ("volumes", ["/var/run/docker.sock:/s"], "docker's socket")),
    ],
)
def test_a_right_too_many_in_compose_is_found(key, value, fault):
    changed = copy.deepcopy(COMPOSE)
    changed["services"]["jobmanager"][key] = value
    assert compose_faults(changed) == {f"jobmanager: {fault}"}


def test_pods_have_least_rights():
    spec = DEPLOYMENT["spec"]
    assert pod_faults(spec["podTemplate"]["spec"]) == set()
    # what a kind of pod adds to that takes nothing back
    own = spec["taskManager"]["podTemplate"]["spec"]
    assert own.keys() == {"containers", "tolerations"}
    assert [container.keys() for container in own["containers"]] == [{"name", "resources"}]
    assert "podTemplate" not in spec["jobManager"]
    names = {pod["containers"][0]["name"] for pod in (own, spec["podTemplate"]["spec"])}
    assert names == {"flink-main-container"}  # or it would be another container


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (["automountServiceAccountToken"], "token"),
        (["securityContext", "runAsNonRoot"], "root"),
        (["securityContext", "runAsUser"], "root"),
        (["securityContext", "seccompProfile"], "seccomp"),
        (["containers", 0, "securityContext", "allowPrivilegeEscalation"], "new privileges"),
        (["containers", 0, "securityContext", "readOnlyRootFilesystem"], "writable root"),
        (["containers", 0, "securityContext", "capabilities"], "capabilities"),
    ],
)
def test_a_right_too_many_in_a_pod_is_found(path, fault):
    pod = copy.deepcopy(DEPLOYMENT["spec"]["podTemplate"]["spec"])
    *parents, last = path
    place = pod
    for each in parents:
        place = place[each]
    del place[last]
    assert pod_faults(pod) == {fault}


def test_only_its_own_pods_and_the_operator_reach_the_cluster():
    assert (POLICY["apiVersion"], POLICY["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    spec, own = POLICY["spec"], {"matchLabels": {"app": DEPLOYMENT["metadata"]["name"]}}
    assert spec["podSelector"] == own
    assert spec["policyTypes"] == ["Ingress"]
    pods, operator = spec["ingress"]
    assert pods == {"from": [{"podSelector": own}]}
    assert operator["ports"] == [{"port": 8081}]
    assert [each["podSelector"] for each in operator["from"]] == [
        {"matchLabels": {"app.kubernetes.io/name": "flink-kubernetes-operator"}}
    ]


def test_the_image_ends_as_somebody_without_rights_and_holds_no_secret():
    rights = DEPLOYMENT["spec"]["podTemplate"]["spec"]["securityContext"]
    flink = f"USER {rights['runAsUser']}:{rights['runAsGroup']}"
    assert re.findall(r"^USER .*$", DOCKERFILE, re.MULTILINE)[-1] == flink == "USER 9999:9999"
    assert DOCKERFILE.rstrip().endswith(flink)
    assert not re.search(
        r"^ADD |https?://|chmod.*777|sudo|ARG .*(TOKEN|KEY|SECRET)", DOCKERFILE, re.MULTILINE
    )


def test_what_is_written_to_has_a_place_although_the_root_is_read_only():
    pod = DEPLOYMENT["spec"]["podTemplate"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"tmp": "/tmp", "log": "/opt/flink/log"}
    assert {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]} == {
        "tmp": {},
        "log": {},
    }
    for service in COMPOSE["services"].values():
        assert set(service["tmpfs"]) == {"/tmp", "/opt/flink/log"}
        assert service["volumes"] == ["/opt/flink/conf"]
