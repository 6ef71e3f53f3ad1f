"""The image, the compose file and the Kubernetes manifests: schemas, commands, environment.

That is all that is checked: no image is built, no service started, no manifest applied, and none of
it was ever. KubeRay's own schema is not at hand; its pods are checked by Kubernetes' schema.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.server.environment import CLIENT, PATIENT
from tests.command_checks import ROOT, check_command

INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
MANIFESTS = sorted((INFRA / "kubernetes").rglob("*.yaml"))
KUSTOMIZATION = INFRA / "kubernetes" / "kustomization.yaml"
KUBERNETES = "1.34"

# What only an operator knows, or what names a service: given in each file.
OF_THE_OPERATOR = {
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_API_DATABASE_CONNECTION_URL",
}
IMAGES = ("waver:cpu", "waver:gpu")
Variables = Mapping[str, str | None]


def objects() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        if path != KUSTOMIZATION:
            yield from yaml.safe_load_all(path.read_text())


def identity(row: Mapping[str, Any]) -> str:
    return f"{row['kind']} {row['metadata']['name']}"


def pods_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every pod template below a node of a manifest."""
    if isinstance(node, dict):
        if "containers" in node.get("spec", {}):
            yield node
        for child in node.values():
            yield from pods_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from pods_in(child)


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for row in objects():
        for pod in pods_in(row):
            for container in pod["spec"]["containers"]:
                yield f"{identity(row)}: {container['name']}", container


def environment_of(container: Mapping[str, Any]) -> Variables:
    """Return a container's variables; one from a secret has the value None."""
    maps = {row["metadata"]["name"]: row["data"] for row in objects() if row["kind"] == "ConfigMap"}
    variables: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        variables |= maps[source["configMapRef"]["name"]]
    return variables | {row["name"]: row.get("value") for row in container.get("env", ())}


def check_prefect_variables(command: Sequence[str], variables: Variables) -> None:
    """Compare a container's variables with the one source of truth, `flows.server.environment`.

    `waver serve` sets the server's itself.
    """
    is_server = command[:2] == ["waver", "serve"]
    ours = {
        name: value
        for name, value in variables.items()
        if re.match("PREFECT|RAY|DO_NOT", name) and name not in OF_THE_OPERATOR
    }
    assert ours == ({} if is_server else CLIENT | PATIENT)
    assert ("PREFECT_API_URL" in variables) is not is_server
    assert ("PREFECT_SERVER_API_AUTH_STRING" in variables) is is_server


def check_in_image(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a container's command, which may be a line for a shell."""
    if command[:2] == ["sh", "-c"]:
        (line,) = command[2:]
        line = re.sub(r"\$\(\(.*?\)\)", "1", line).replace("$RAY_ADDRESS", "10.0.0.1:6379")
        command = shlex.split(line)
    command = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in command]
    check_command([f".venv/bin/{command[0]}", *command[1:]], monkeypatch)


def test_runs_of_deployments_get_the_environment_of_every_run() -> None:
    deployments = yaml.safe_load((INFRA / "prefect.yaml").read_text())["deployments"]
    environments = [entry["work_pool"]["job_variables"]["env"] for entry in deployments]
    assert environments == [CLIENT] * len(deployments)


def test_the_compose_file_follows_the_compose_specification(tmp_path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    path = INFRA / "compose.yaml"
    subprocess.run([*check, path], check=True)
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(path.read_text().replace("healthcheck:", "healthchecks:"))
    assert subprocess.run([*check, wrong], stdout=subprocess.DEVNULL, check=False).returncode == 1


WAVER_SERVICES = {
    name: service for name, service in COMPOSE["services"].items() if service["image"] in IMAGES
}


@pytest.mark.parametrize("name", WAVER_SERVICES)
def test_a_service_of_waver_has_a_command_that_parses_and_the_right_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = WAVER_SERVICES[name]
    check_in_image(service["command"], monkeypatch)
    check_prefect_variables(service["command"], service["environment"])


def test_the_file_of_passwords_is_neither_committed_nor_copied_into_the_image() -> None:
    ended = subprocess.run(
        ["git", "check-ignore", "infra/.env", ".env"], cwd=ROOT, check=False,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert ended.stdout.split() == ["infra/.env", ".env"]
    assert "**/.env" in (INFRA / "Dockerfile.dockerignore").read_text().splitlines()


def test_services_and_volumes_that_the_compose_file_names_exist() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            assert re.match(r"\$\{\w+:\?", volume) or volume.split(":")[0] in COMPOSE["volumes"]
    reads_only = [v for v in services["worker-cpu"]["volumes"] if v.endswith(":ro")]
    assert [volume.split("}:")[1] for volume in reads_only] == ["/data:ro"]


@pytest.mark.parametrize("row", list(objects()), ids=identity)
def test_a_manifest_follows_the_schema_of_kubernetes(row: dict[str, Any]) -> None:
    if row["apiVersion"].startswith("ray.io"):
        for pod in pods_in(row):
            as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **pod}
            kubernetes_validate.validate(as_pod, KUBERNETES, strict=True)
    else:
        kubernetes_validate.validate(row, KUBERNETES, strict=True)
    assert row["kind"] == "Namespace" or row["metadata"]["namespace"] == "waver"


def test_a_wrong_field_of_a_manifest_is_found() -> None:
    row = next(row for row in objects() if row["kind"] == "Deployment")
    (pod,) = pods_in(row)
    pod["spec"]["container"] = pod["spec"].pop("containers")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(row, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "container", [pytest.param(c, id=name) for name, c in containers() if c["image"] in IMAGES]
)
def test_a_container_of_waver_has_a_command_that_parses_and_the_right_environment(
    container: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = container.get("command", ["ray", "start"])  # KubeRay's own, in a Ray node
    if command[0] != "ray":
        check_in_image(command, monkeypatch)
    check_prefect_variables(command, environment_of(container))


def test_claims_config_maps_and_files_that_the_manifests_name_exist() -> None:
    rows = list(objects())
    named = {(row["kind"], row["metadata"]["name"]) for row in rows}
    for row in rows:
        for pod in pods_in(row):
            spec = pod["spec"]
            claims = {
                volume["name"]: volume["persistentVolumeClaim"]["claimName"]
                for volume in spec.get("volumes", ())
                if "persistentVolumeClaim" in volume
            }
            assert {("PersistentVolumeClaim", claim) for claim in claims.values()} <= named
            templates = row["spec"].get("volumeClaimTemplates", ())
            volumes = {
                *(volume["name"] for volume in spec.get("volumes", ())),
                *(template["metadata"]["name"] for template in templates),
            }
            for container in spec["containers"]:
                assert {m["name"] for m in container.get("volumeMounts", ())} <= volumes
    listed = yaml.safe_load(KUSTOMIZATION.read_text())["resources"]
    files = {path.name for path in MANIFESTS if path.parent == KUSTOMIZATION.parent}
    assert set(listed) == files - {KUSTOMIZATION.name}


def test_a_claim_that_nobody_could_fill_does_not_exist() -> None:
    claims = [row for row in objects() if row["kind"] == "PersistentVolumeClaim"]
    assert claims
    assert not [row for row in claims if row["spec"]["accessModes"] == ["ReadOnlyMany"]]


def test_the_job_on_ray_names_a_model_so_that_its_head_trains_none() -> None:
    (job,) = (row for row in objects() if row["kind"] == "RayJob")
    assert "--model" in job["spec"]["entrypoint"].split()


def test_the_job_on_ray_has_a_command_that_parses_and_the_version_of_the_lock_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (job,) = (row for row in objects() if row["kind"] == "RayJob")
    check_in_image(["sh", "-c", job["spec"]["entrypoint"]], monkeypatch)
    version = re.escape(job["spec"]["rayClusterSpec"]["rayVersion"])
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(rf"^ray=={version}$", lock, re.MULTILINE)


def test_the_database_is_the_version_that_the_tests_run() -> None:
    versions = {COMPOSE["services"]["database"]["image"]}
    versions |= {c["image"] for _, c in containers() if c["image"].startswith("postgres")}
    assert versions == {"postgres:15"}


def test_the_image_copies_files_that_exist_and_links_programs_of_the_environment() -> None:
    text = (INFRA / "Dockerfile").read_text().replace("\\\n", " ")
    copied = [path for line in re.findall(r"^COPY (.*)", text, re.MULTILINE)
              for path in line.split()[:-1]]  # fmt: skip
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    programs = re.findall(r"/waver/(\.venv/bin/\w+)", text)
    assert {path.rpartition("/")[2] for path in programs} == {"waver", "prefect", "ray"}
    assert all((ROOT / path).exists() for path in programs)
