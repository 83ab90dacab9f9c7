"""docker-compose.yml agrees with the code that it runs and the files that it mounts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
import yaml

from chaos.documents.models import Project
from chaos.documents.targets import Target
from loadtests import metrics

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict] = COMPOSE["services"]
COLLECTOR = yaml.safe_load((ROOT / "deploy/otel/config.yaml").read_text())
NO_SHELL = {"otel-collector", "brownout"}
"""Without a health check: an image of one binary, and a command that ends by itself."""


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict:
    """Each service in turn, with its name under `name`."""
    return {**SERVICES[request.param], "name": request.param}


def option(command: list[str], name: str) -> str:
    """The value of `--name VALUE` in a command."""
    return command[command.index(name) + 1]


def test_everything_is_on_loopback(service: dict) -> None:
    """No port is published to the network: whoever reaches Toxiproxy's API can break what is behind it."""
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    assert "network_mode" not in service


def test_images_are_pinned(service: dict) -> None:
    """Every image has a whole version, so that tomorrow's stack is today's."""
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_the_base_image_is_pinned() -> None:
    """The image of our own is built from a whole version, as a user without rights."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.12\.\d+-slim-\w+$", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile
    assert dockerfile.rindex("USER 10001") > dockerfile.rindex("RUN ")


def test_what_the_image_copies_exists() -> None:
    """Every file that the image is built from is there, and .dockerignore lets it through."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copies = re.findall(r"^COPY (.+) \S+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copies).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignore, name


def test_services_tell_their_health(service: dict) -> None:
    """Every service that stays up and can be asked has a health check; who waits, waits for it."""
    assert ("healthcheck" in service) is (service["name"] not in NO_SHELL)
    for other, wait in service.get("depends_on", {}).items():
        wanted = "service_healthy" if "healthcheck" in SERVICES[other] else "service_started"
        assert wait["condition"] == wanted


def test_mounted_files_exist(service: dict) -> None:
    """Every file and volume that is mounted is there; Docker would make a folder of a missing file."""
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert volume.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"], source


@pytest.mark.parametrize("name", ["environment", "evals"])
def test_demo_services_are_started_as_they_can_be(name: str) -> None:
    """The demo services' commands use options that exist, and the port that is published and asked."""
    command = SERVICES[name]["command"]
    assert command[:4] == ["python", "-m", "chaos.demo", name]
    shown = subprocess.run(
        [sys.executable, "-m", "chaos.demo", name, "--help"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert [o for o in command if o.startswith("--") and o not in shown.stdout] == []
    port = option(command, "--port")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/healthz" in SERVICES[name]["healthcheck"]["test"][-1]


def test_targets_name_the_services() -> None:
    """The targets' addresses are the services' names and ports, and the project allows them."""
    allowed = Project.model_validate(yaml.safe_load((ROOT / "deploy/compose/brownout.yaml").read_text()))
    text = (ROOT / "deploy/compose/chaos/targets/compose.yaml").read_text()
    targets = [Target.model_validate(document) for document in yaml.safe_load_all(text)]
    assert [t.metadata.name for t in targets] == ["compose-env", "compose-evals"]
    for target in targets:
        urls = [s.url for s in target.spec.services.values() if hasattr(s, "url")]
        for url in [*urls, target.spec.toxiproxy or ""]:
            parts = urllib.parse.urlsplit(url)
            assert parts.hostname in allowed.allow_hosts
            assert f"127.0.0.1:{parts.port}:{parts.port}" in SERVICES[parts.hostname or ""]["ports"]


def test_targets_have_the_shipped_services() -> None:
    """Shipped experiments run against the containers too: the targets have services of the same names."""
    text = (ROOT / "deploy/compose/chaos/targets/compose.yaml").read_text()
    composed = [set(document["spec"]["services"]) for document in yaml.safe_load_all(text)]
    shipped = [
        set(yaml.safe_load((ROOT / f"chaos/targets/{name}.yaml").read_text())["spec"]["services"])
        for name in ("demo-env", "demo-evals")
    ]
    assert composed == shipped


def test_the_run_is_of_a_shipped_experiment() -> None:
    """The `brownout` service runs an experiment and a target that exist."""
    command = SERVICES["brownout"]["command"]
    assert command[:2] == ["brownout", "run"]
    assert (ROOT / f"chaos/experiments/{command[2]}.yaml").is_file()
    assert option(command, "--target") == "compose-env"
    assert SERVICES["brownout"]["profiles"] == ["run"]


def test_telemetry_goes_where_it_is_received() -> None:
    """The services' OTLP endpoint is the collector's; Prometheus reads the port that the collector offers."""
    received = COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rsplit(":", 1)[1]
    for name in ("environment", "evals"):
        service = SERVICES[name] if "environment" in SERVICES[name] else COMPOSE["x-brownout"]
        endpoint = service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert endpoint == f"http://otel-collector:{received}"
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scraped}
    offered = COLLECTOR["exporters"]["prometheus"]["endpoint"].rsplit(":", 1)[1]
    assert targets["otel-collector"] == [f"otel-collector:{offered}"]
    assert targets["toxiproxy"] == ["toxiproxy:8474"]
    assert "-proxy-metrics" in SERVICES["toxiproxy"]["command"]


def test_the_collector_uses_what_it_declares() -> None:
    """Every receiver, processor, exporter and extension is in a pipeline, and none is missing."""
    (pipeline,) = COLLECTOR["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(COLLECTOR[kind])
    assert set(COLLECTOR["service"]["extensions"]) == set(COLLECTOR["extensions"])
    mounted = SERVICES["otel-collector"]["volumes"]
    assert any(v.endswith(":/runs:ro") for v in mounted)
    assert all(p.startswith("/runs/") for p in COLLECTOR["receivers"]["otlp_json_file"]["include"])


HISTOGRAMS = (
    metrics.STEP_DURATION,
    metrics.EPISODE_DURATION,
    metrics.CHAT_DURATION,
    metrics.FIRST_CHUNK,
    metrics.HTTP_OPERATION,
    metrics.HTTP_REQUEST,
)


def flat(name: str) -> str:
    """A name as Prometheus takes it."""
    return name.replace(".", "_")


def prometheus_names() -> set[str]:
    """Our metrics as the collector's Prometheus exporter calls them, with unit and type in the name."""
    return {
        *(f"{flat(h)}_seconds_{part}" for h in HISTOGRAMS for part in ("bucket", "count", "sum")),
        *(f"{flat(s)}_total" for s in (metrics.ATTEMPTS, metrics.STREAMS, metrics.ARRIVALS)),
        flat(metrics.USERS),
        "toxiproxy_proxy_sent_bytes_total",
    }


def test_the_dashboard_reads_metrics_that_exist() -> None:
    """Every metric and label in the dashboard is one that load (or Toxiproxy) sends."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/brownout.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    assert len(queries) > 10
    used = set(re.findall(r"\b((?:brownout|gen_ai|http|toxiproxy)_\w+)(?=[\[{])", " ".join(queries)))
    assert used - prometheus_names() == set()
    labels = set(re.findall(r"(\w+)(?:=~|!=|=)\"", " ".join(queries)))
    sent = (
        metrics.WORKLOAD,
        metrics.EPISODE_OUTCOME,
        metrics.STREAM_TERMINAL,
        metrics.ARRIVAL_STATE,
        metrics.ERROR_TYPE,
    )
    assert labels <= {flat(name) for name in sent}


def test_grafana_finds_its_source_and_dashboard() -> None:
    """The provisioned source is the one that panels name, and the dashboards' folder is mounted."""
    base = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((base / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    dashboard = (ROOT / "deploy/grafana/dashboards/brownout.json").read_text()
    assert set(re.findall(r'"uid": "(\w+)"', dashboard)) == {source["uid"], "brownout"}
    (provider,) = yaml.safe_load((base / "dashboards/brownout.yaml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/brownout.json"


def test_docker_compose_accepts_it() -> None:
    """docker-compose itself finds nothing wrong."""
    if (found := shutil.which("docker-compose")) is None:
        pytest.skip("no docker-compose on PATH: apt-get install docker-compose")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")}
    done = subprocess.run(
        [found, "--profile", "run", "config", "--services"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)
