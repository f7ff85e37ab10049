"""docker-compose.yml stays in step with the settings and with the embedded stack. No Docker engine is needed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from adapters.settings import Settings
from adapters.temporal.search_attributes import KEYWORDS
from cli.main import app
from cli.stack.local import Options
from cli.stack.postgres import _BIN
from cli.stack.services import Connections, programs
from cli.stack.temporal import MATCHING

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("journeys:")}
CONNECTIONS = Connections("postgresql://x/y", "smtp://x:25", "http://x", 8000, "secret", "x:7233")


def setting_names() -> set[str]:
    """Name every environment variable that `Settings` reads."""
    prefix = str(Settings.model_config["env_prefix"])
    return {str(field.validation_alias or prefix + name.upper()) for name, field in Settings.model_fields.items()}


def test_the_same_processes_run_in_containers_and_in_the_embedded_stack() -> None:
    """`journeys dev` is what one tries; containers are what one deploys."""
    embedded = {str(program.argv[-1]) for program in programs(Path("/nowhere"), CONNECTIONS)}

    assert {service["command"][0] for service in OURS.values()} == embedded | {"migrate"}
    assert {name: service["command"] for name, service in OURS.items()} == {name: [name] for name in OURS}
    known: Any = get_command(app)
    assert {service["command"][0] for service in OURS.values()} <= set(known.list_commands(None))


@pytest.mark.parametrize("name", OURS)
def test_a_container_is_told_what_the_embedded_process_is_told(name: str) -> None:
    """A setting added on one side only is found here: every name is read by somebody, and none is missing."""
    told = set(OURS[name]["environment"])

    assert told - {"TEMPORAL_ADDRESS"} <= setting_names()
    # A container listens on all its addresses, and is a build of its own; the embedded worker never is. The embedded
    # stack encrypts only for those who ask for it.
    encryption = {"JOURNEYS_MASTER_KEYS", "JOURNEYS_TEMPORAL_UI_URL"}
    assert told == set(CONNECTIONS.environment()) | {"JOURNEYS_API_HOST", "JOURNEYS_BUILD_ID"} | encryption


def test_the_embedded_processes_tell_their_metrics_on_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers each has its own address; on one machine three would fight for one port."""
    monkeypatch.setenv("JOURNEYS_METRICS_PORT", "9464")
    monkeypatch.setenv("JOURNEYS_TEMPORAL_METRICS_PORT", "")
    ports = {program.name: program.env["JOURNEYS_METRICS_PORT"] for program in programs(Path("/nowhere"), CONNECTIONS)}

    assert ports == {"api": "9464", "worker": "9465", "router": "9466"}


def test_every_image_has_a_pinned_tag() -> None:
    """The same file gives the same software next year."""
    tags = {service["image"].partition(":")[2] for service in SERVICES.values()}
    dockerfile = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)

    assert all(re.match(r"v?\d+\.\d+", tag) for tag in tags), tags
    assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+$", base) for base in bases), bases


def test_every_lasting_service_has_a_health_check_and_nothing_starts_before_what_it_needs() -> None:
    """`docker compose up --wait` means something, and a start in the wrong order cannot happen."""
    one_shot = {name for name, service in SERVICES.items() if "restart" not in service}
    waits = {
        (name, needed): how["condition"]
        for name, service in SERVICES.items()
        for needed, how in service.get("depends_on", {}).items()
    }

    assert one_shot == {"migrate", "search-attributes"}
    assert {name for name in SERVICES if "healthcheck" in SERVICES[name]} == set(SERVICES) - one_shot
    assert waits == {
        (name, needed): "service_completed_successfully" if needed in one_shot else "service_healthy"
        for name, needed in waits
    }
    assert {needed for name, needed in waits if name in ("api", "worker", "router")} == one_shot


def test_every_published_port_is_explained_and_reachable_from_this_machine_only() -> None:
    """Nobody should wonder what a port is for, or expose a database to the world by `up`."""
    lines = re.findall(r"^ +- (\S+:\d+:\d+)(.*)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    published = {port for service in SERVICES.values() for port in service.get("ports", [])}
    outside = {int(port.split(":")[1]) for port in published}
    options = Options()

    assert published == {port for port, _ in lines}
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert all(re.search(r"# \w+", comment) for _, comment in lines), lines
    assert outside == {
        options.api_port, options.inbox_port, options.smtp_port, options.temporal_port, options.temporal_ui_port
    }  # fmt: skip


def test_both_stacks_have_the_same_search_attributes_and_the_same_postgres() -> None:
    """An attribute that is missing hangs workflows for ever, on the side where nobody tried it."""
    attributes = SERVICES["search-attributes"]["environment"]["ATTRIBUTES"].split()
    major = re.search(r"\d+", SERVICES["postgres"]["image"])

    assert tuple(attributes) == KEYWORDS
    assert major is not None
    assert f"pginstall{major[0]}" in _BIN.parts


def test_both_stacks_hand_out_waiting_work_alike() -> None:
    """A store that is served in turn here must not wait for the others there."""
    temporal = SERVICES["temporal"]
    (mounted,) = temporal["configs"]
    told = yaml.safe_load(COMPOSE["configs"][mounted["source"]]["content"])

    assert mounted["target"] == temporal["environment"]["DYNAMIC_CONFIG_FILE_PATH"]
    assert {name: json.dumps(rule["value"]) for name, (rule,) in told.items()} == MATCHING


def test_our_containers_do_not_run_as_root() -> None:
    """A hole in the API must not open the machine."""
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)[-1] not in ("root", "0")
    assert all(service["cap_drop"] == ["ALL"] and "user" not in service for service in OURS.values())


def test_everything_is_installed_by_the_same_uv() -> None:
    """The lock file is read by one version of uv, wherever it is read."""
    pinned = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert pinned is not None
    assert f"uv=={pinned[1]}" in (ROOT / "Dockerfile").read_text()


def test_every_package_is_copied_into_the_image() -> None:
    """What is imported must be there."""
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    ignored = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "chaos"}

    assert copied == ignored == packages
