"""The sensor pipeline in containers: what its files say fits the programs, the project, and each other.

There is no engine here that could run them. What is checked is what an engine would not: that every option is known to
the program that is given it, that ports and names agree, and that the image has what is imported.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from casty_asyncio import __main__ as command_line
from examples.sensors import client, node

from .programs import ROOT, TIMEOUT, command, environment, execute

FOLDER = ROOT / "examples" / "sensors"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
KUBERNETES_TEXT = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
KUBERNETES: dict[str, dict[str, Any]] = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES_TEXT)}
PROGRAMS = {"examples.sensors.node": node.parser, "examples.sensors.client": client.parser}
LEAVE_SECONDS = 30
"""How long a node takes at most to hand over what it has, unless it is told otherwise."""


def parsed(start: list[str], arguments: list[str]) -> argparse.Namespace:
    """What a program makes of its command line."""
    assert start[:2] == ["python", "-m"]
    return PROGRAMS[start[2]]().parse_args(arguments)


def commands_of(text: str) -> list[str]:
    """The commands that the head of a file documents."""
    head = text.partition("\n\n")[0]
    return re.findall(r"^#     (.+)$", head, re.MULTILINE)


# -- the image ---------------------------------------------------------------------------------------------------------


def copied() -> dict[str, str]:
    """What is copied into the image, and where to."""
    found: dict[str, str] = {}
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            found[source] = f"{target}{source}" if target.endswith("/") else target
    return found


def imported(folder: Path) -> set[str]:
    """The packages of the project that a folder imports, and those that these import."""
    names = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    todo, found = [folder], set[str]()
    while todo:
        for path in todo.pop().rglob("*.py"):
            if path == FOLDER / "simulated.py":
                continue  # It is no program of the image.
            for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [each.module or ""] if isinstance(each, ast.ImportFrom) and not each.level else []
                modules += [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
                for module in modules:
                    name = module.partition(".")[0]
                    if name in names - found:
                        found.add(name)
                        todo.append(ROOT / name)
    return found


def test_the_image_has_what_the_programs_import() -> None:
    packages = imported(FOLDER)
    assert packages == {"casty_asyncio", "casty_proto"}
    assert packages | {"examples/sensors", "examples/__init__.py"} <= set(copied())
    for source, target in copied().items():
        assert (ROOT / source).exists(), source
        assert target == f"./{source}", "the image is laid out as the project is"


def test_the_image_has_what_the_project_needs_to_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"], *packages}
    before, _, after = DOCKERFILE.partition("RUN pip install --no-cache-dir .\n")
    assert after
    assert needed <= {word for line in re.findall(r"^COPY (.+)$", before, re.MULTILINE) for word in line.split()[:-1]}


def test_the_image_has_a_python_that_is_supported() -> None:
    version = re.findall(r"^FROM python:(\d+\.\d+)-slim$", DOCKERFILE, re.MULTILINE)
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert len(version) == 1
    assert f"Programming Language :: Python :: {version[0]}" in classifiers


def test_what_is_copied_is_not_ignored_and_all_else_is() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert {source.partition("/")[0] for source in copied()} == taken


# -- compose -----------------------------------------------------------------------------------------------------------

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: service for name, service in SERVICES.items() if name != "client"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_built_from_what_is_there_and_its_program_knows_its_options(name: str) -> None:
    service = SERVICES[name]
    context = (FOLDER / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]) == FOLDER / "Dockerfile"
    assert service["hostname"] == name
    parsed(service["entrypoint"], service["command"])
    assert service["environment"] == {"CASTY_SECRET": "${CASTY_SECRET:-}"}


def test_the_services_find_each_other() -> None:
    options = {name: parsed(service["entrypoint"], service["command"]) for name, service in NODES.items()}
    addresses = {f"{name}:{each.port}" for name, each in options.items()}
    for each in options.values():
        assert set(each.seed) <= addresses
        assert each.nodes == len(NODES)
        assert (each.host, each.bind_host) == ("auto", "0.0.0.0")
    outside = parsed(SERVICES["client"]["entrypoint"], SERVICES["client"]["command"])
    assert set(outside.contact) <= addresses
    assert outside.producers == len({each.sensor for each in options.values()}) == len(NODES) == 3
    assert len({each.count for each in [*options.values(), outside]}) == 1
    assert set(SERVICES["client"]["depends_on"]) == set(NODES)


def test_the_services_have_all_parts_of_the_pipeline() -> None:
    options = [parsed(service["entrypoint"], service["command"]) for service in NODES.values()]
    assert sum(each.alert_monitor for each in options) == 1
    assert sum("dispatch" in each.role for each in options) >= 2, "so that it can move"
    assert {each.sensor for each in options} <= set(node.RANGES)


def test_a_service_is_given_the_time_to_leave() -> None:
    for service in NODES.values():
        assert int(service["stop_grace_period"].removesuffix("s")) > LEAVE_SECONDS


# -- Kubernetes --------------------------------------------------------------------------------------------------------

SERVICE, STATEFUL_SET, JOB = KUBERNETES["Service"], KUBERNETES["StatefulSet"], KUBERNETES["Job"]
POD: dict[str, Any] = STATEFUL_SET["spec"]["template"]["spec"]
CLIENT: dict[str, Any] = JOB["spec"]["template"]["spec"]


def pod_names() -> list[str]:
    return [f"{STATEFUL_SET['metadata']['name']}-{number}" for number in range(STATEFUL_SET["spec"]["replicas"])]


def of_a_pod(pod: str) -> argparse.Namespace:
    """What the program of a pod is told."""
    [container] = POD["containers"]
    known = {each["name"] for each in container["env"]}
    for argument in container["args"]:
        assert set(re.findall(r"\$\((\w+)\)", argument)) <= known
    return parsed(container["command"], [each.replace("$(POD_NAME)", pod) for each in container["args"]])


def test_every_manifest_is_of_a_version_that_has_its_kind() -> None:
    versions = {kind: each["apiVersion"] for kind, each in KUBERNETES.items()}
    assert versions == {"Service": "v1", "StatefulSet": "apps/v1", "Job": "batch/v1"}


def test_the_pods_find_each_other_through_the_headless_service() -> None:
    name = SERVICE["metadata"]["name"]
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SERVICE["spec"]["publishNotReadyAddresses"] is True
    assert STATEFUL_SET["spec"]["serviceName"] == name
    assert STATEFUL_SET["spec"]["podManagementPolicy"] == "Parallel"
    labels = STATEFUL_SET["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == STATEFUL_SET["spec"]["selector"]["matchLabels"] == labels
    options = {pod: of_a_pod(pod) for pod in pod_names()}
    addresses = [f"{each.host}:{each.port}" for each in options.values()]
    assert [each.host for each in options.values()] == [f"{pod}.{name}" for pod in options]
    for pod, each in options.items():
        assert each.node_id == pod
        assert each.seed == addresses, "all nodes have the same seeds"
        assert each.nodes == len(options)
        assert each.bind_host == "0.0.0.0"


def test_the_ports_and_the_probes_are_those_of_the_program() -> None:
    [container] = POD["containers"]
    options = of_a_pod("sensors-0")
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"cluster": options.port, "health": options.health_port}
    assert [(each["port"], each["targetPort"]) for each in SERVICE["spec"]["ports"]] == [(options.port, "cluster")]
    probes = {name: container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert probes["livenessProbe"] == {"path": "/live", "port": "health"}
    assert probes["readinessProbe"] == {"path": "/ready", "port": "health"}
    assert POD["terminationGracePeriodSeconds"] > LEAVE_SECONDS


def test_the_job_consumes_what_the_pods_produce() -> None:
    [container] = CLIENT["containers"]
    options = parsed(container["command"], container["args"])
    assert options.contact == [f"{SERVICE['metadata']['name']}:{of_a_pod('sensors-0').port}"]
    pods = [of_a_pod(pod) for pod in pod_names()]
    assert options.producers == len({each.sensor for each in pods}) == len(pods)
    assert {each.count for each in pods} == {options.count}
    assert any(each.alert_monitor for each in pods)
    assert all("dispatch" in each.role for each in pods)
    assert CLIENT["restartPolicy"] == "Never"


def test_the_secret_comes_from_a_secret_through_the_environment() -> None:
    reference = {"name": "CASTY_SECRET", "valueFrom": {"secretKeyRef": {"name": "sensors", "key": "secret"}}}
    for pod in (POD, CLIENT):
        [container] = pod["containers"]
        assert reference in container["env"]
        assert not [each for each in container["args"] if "secret" in each]
    created = next(line for line in commands_of(KUBERNETES_TEXT) if " create secret " in line)
    assert created.startswith("kubectl create secret generic sensors --from-literal=secret=")


def test_no_pod_is_root() -> None:
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert all(pod["securityContext"]["runAsNonRoot"] is True for pod in (POD, CLIENT))


# -- what is documented ------------------------------------------------------------------------------------------------


def test_the_documented_commands_name_what_is_there() -> None:
    image = re.findall(r"-t (\S+) \.$", "\n".join(commands_of(DOCKERFILE)), re.MULTILINE)
    assert image == ["casty-sensors"]
    assert all(container["image"] == image[0] for pod in (POD, CLIENT) for container in pod["containers"])
    for text in (DOCKERFILE, COMPOSE_TEXT, KUBERNETES_TEXT):
        lines = commands_of(text)
        assert lines
        for line in lines:
            for option in re.findall(r" -f (\S+)", line):
                assert (ROOT / option).is_file(), line
            if " docker run " in f" {line}":
                module = line.partition(f"{image[0]} ")[2].split()[0]
                assert module in PROGRAMS
            if line.startswith("docker compose"):
                named = [word for word in line.split() if re.fullmatch(r"(node-\d|client)", word)]
                assert set(named) <= set(SERVICES)
            if "casty_asyncio inspect" in line:
                asked = command_line._parser().parse_args(shlex.split(line.partition("casty_asyncio ")[2]))
                assert asked.name == "sensors"
                assert asked.address in {"node-1:25520", of_a_pod("sensors-0").seed[0]}
    assert f"job/{JOB['metadata']['name']}" in KUBERNETES_TEXT
    for name in ("Dockerfile", "compose.yaml", "kubernetes.yaml"):
        assert f"`{name}`" in (FOLDER / "__init__.py").read_text(encoding="utf-8")


# -- the programs ------------------------------------------------------------------------------------------------------


def fetched(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=TIMEOUT) as answer:
        text: str = answer.read().decode()
    return text


def test_a_node_answers_probes_takes_its_secret_from_the_environment_and_leaves_when_it_is_told(tmp_path: Path) -> None:
    arguments = ["--node-id", "node-1", "--nodes", "1", "--port", "0", "--health-port", "0", "--json"]
    arguments += ["--role", "dispatch", "--alert-monitor", "--count", "20", "--interval", "0.001"]
    secret = {"CASTY_SECRET": "a long and random text"}
    with subprocess.Popen(
        command("-m", "examples.sensors.node", *arguments),
        cwd=tmp_path,
        env=environment(secret),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        try:
            listening = json.loads(process.stdout.readline())
            port = listening["address"].rpartition(":")[2]
            while json.loads(process.stdout.readline())["what"] != "sensor":
                pass
            assert fetched(listening["health"], "ready") == "ok\n"
            assert fetched(listening["health"], "live") == "ok\n"
            assert "casty_cluster_is_leader 1\n" in fetched(listening["health"], "metrics")
            # A contact may be called otherwise than the node calls itself, as one behind a Service is.
            contact = ["--contact", f"localhost:{port}", "--producers", "1", "--count", "20"]
            stranger = execute("-m", "examples.sensors.client", *contact, "--secret", "wrong", folder=tmp_path)
            assert stranger.returncode == 1
            assert "\nThe client found no cluster: " in stranger.stderr
            assert "the secrets differ" in stranger.stderr
            assert "Traceback" not in stranger.stderr
            known = ["--secret", secret["CASTY_SECRET"]]
            reader = execute("-m", "examples.sensors.client", *contact, *known, folder=tmp_path)
            assert reader.returncode == 0, reader.stderr
            assert "complete: 20 readings" in reader.stdout
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["what"] == "ended"
    assert "Traceback" not in errors
