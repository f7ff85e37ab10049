"""deploy/kubernetes stays in step with the product: its settings, commands, probes, metrics and times.

Read as files; no cluster is needed. Where there is a `kubectl`, it also builds every kustomization.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import promql_parser
import pytest
import yaml
from sqlalchemy import QueuePool, make_url
from typer.main import get_command

from adapters.metrics import REGISTRY
from adapters.postgres.backlog import Backlog
from adapters.postgres.engine import create_engine
from adapters.settings import Settings
from adapters.temporal import engine
from api import health as endpoints
from api import main as api_main
from api import patience
from cli.health import health
from cli.main import app
from cli.operate import system_now
from domain import ids
from worker import lanes
from worker import main as worker_main
from workflows.registry import JOURNEYS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
KUSTOMIZATIONS = [path for path in FILES if path.name == "kustomization.yaml"]
OVERLAYS = ("self-hosted", "temporal-cloud")
BUILT = [*(f"overlays/{name}" for name in OVERLAYS), *(f"overlays/{name}/worker" for name in OVERLAYS), "migrate"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
PROCESSES = ("api", "router", "worker")
Object = dict[str, Any]


def objects(path: Path) -> list[Object]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


MANIFESTS = [path for path in FILES if path.name not in {"kustomization.yaml", "names.yaml"}]
ALL: list[Object] = [found for path in MANIFESTS for found in objects(path)]


def the(kind: str, name: str) -> Object:
    (found,) = [o for o in ALL if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pods() -> Iterator[tuple[str, Object]]:
    """Every pod that we run, by its component."""
    for found in ALL:
        if found["kind"] in {"Deployment", "Job"}:
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


PODS = dict(pods())


def container(name: str) -> Object:
    (found,) = PODS[name]["containers"]
    return dict(found)


def literals(kustomization: Path, config: str) -> dict[str, str]:
    generators = yaml.safe_load(kustomization.read_text(encoding="utf-8")).get("configMapGenerator", [])
    told = [pair for generator in generators if generator["name"] == config for pair in generator["literals"]]
    return dict(pair.split("=", 1) for pair in told)


def told(name: str, overlay: str) -> set[str]:
    """What a process finds in its environment."""
    configs = {
        "journeys-settings": literals(FOLDER / "base" / "kustomization.yaml", "journeys-settings"),
        "journeys-temporal": literals(FOLDER / "overlays" / overlay / "kustomization.yaml", "journeys-temporal"),
    }
    own = container(name)
    maps = [source["configMapRef"]["name"] for source in own.get("envFrom", []) if "configMapRef" in source]
    return {pair["name"] for pair in own["env"]} | {setting for config in maps for setting in configs[config]}


def example() -> dict[str, str]:
    """The secrets, as whoever installs it is shown them."""
    file = (FOLDER / "secrets.example.env").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+)=(.+)$", file, re.MULTILINE))


def read_by() -> dict[str, tuple[set[str], bool]]:
    """The settings of README.md: which processes read each, and whether it is required."""
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| ([^|]+) \|", README, re.MULTILINE)
    everybody = {*PROCESSES, "migrate"}
    return {
        name: (everybody if who.strip() == "all" else set(who.strip().split(", ")), default == "required")
        for name, who, default in rows
    }


def test_every_kustomization_lists_files_that_exist_and_no_file_is_left_out() -> None:
    """A manifest that nobody applies looks as if it counted."""
    listed = {FOLDER / "namespace.yaml"}
    for path in KUSTOMIZATIONS:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name in [*content["resources"], *content.get("configurations", [])]:
            target = (path.parent / name).resolve()
            assert target.exists(), name
            listed.add(target / "kustomization.yaml" if target.is_dir() else target)

    assert {FOLDER / place / "kustomization.yaml" for place in BUILT} | listed == set(FILES)


@pytest.mark.parametrize("place", BUILT)
def test_kubectl_builds_it(place: str) -> None:
    """What kustomize makes of it: names, labels and ids of a build agree wherever they stand."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl, whose kustomize would build the manifests")
    built = subprocess.run(
        ["kubectl", "kustomize", FOLDER / place], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    made = {o["kind"]: o for o in yaml.safe_load_all(built)}
    assert {o["metadata"].get("namespace") for o in made.values()} == {"journeys"}
    if place.endswith("worker"):
        deployment, scaled = made["Deployment"], made["ScaledObject"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        build = labels["app.kubernetes.io/version"]
        assert deployment["metadata"]["name"] == "worker-" + re.sub(r"[^a-z0-9]", "-", build)
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
        assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert scaled["spec"]["triggers"][0]["metadata"]["workerDeploymentBuildId"] == build


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_told_what_it_reads_and_nothing_else_that_is_secret(name: str, overlay: str) -> None:
    """A setting that is renamed takes the manifests along; a secret is known to those who need it."""
    environment, settings = told(name, overlay), read_by()
    required = {variable for variable, (who, needed) in settings.items() if name in who and needed}
    theirs = {variable for variable, (who, _) in settings.items() if name in who}
    own = {pair["name"] for pair in container(name)["env"]}

    assert required <= environment
    assert own <= theirs
    assert {variable for variable in environment if not variable.startswith("TEMPORAL_")} <= set(settings)
    assert {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"} <= environment


def test_every_secret_is_listed_for_whoever_makes_them() -> None:
    """The keys that pods ask for, in the file that shows them."""
    asked = {
        pair["valueFrom"]["secretKeyRef"]["key"]
        for name in PODS
        for pair in container(name)["env"]
        if "secretKeyRef" in pair.get("valueFrom", {})
    }

    assert asked == set(example())
    assert not set(literals(FOLDER / "base" / "kustomization.yaml", "journeys-settings")) & set(example())


def test_postgres_is_asked_who_it_is() -> None:
    """The driver hears that it has to verify the certificate, against an authority that every pod has mounted."""
    url = Settings(database_url=example()["DATABASE_URL"]).sqlalchemy_url
    told = create_engine(url).dialect.create_connect_args(make_url(url))[1]

    assert told["sslmode"] == "verify-full"
    for name in PODS:
        mounts = {mount["mountPath"] for mount in container(name)["volumeMounts"]}
        assert str(Path(told["sslrootcert"]).parent) in mounts


def test_the_processes_are_those_of_the_image() -> None:
    """The image's entry point with a command that exists."""
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]', (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    known: Any = get_command(app)

    assert set(PODS) == {*PROCESSES, "migrate"}
    for name in PODS:
        assert container(name)["image"] == entry == "journeys"
        assert container(name)["args"] == [name]
        assert name in known.list_commands(None)


def test_every_probe_asks_what_exists() -> None:
    """The product's own health commands and addresses; what restarts a process asks nobody else."""
    commands = {name: ["journeys", "health", name] for name in get_args(get_type_hints(health)["process"])}
    paths = {route.path for route in endpoints.router.routes if hasattr(route, "path")}
    ports = {name: {port["name"] for port in container(name)["ports"]} for name in PROCESSES}
    for name in PROCESSES:
        probes = {kind: container(name)[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
        for probe in probes.values():
            if "exec" in probe:
                assert probe["exec"]["command"] == commands[name]
            elif "httpGet" in probe:
                assert probe["httpGet"]["path"] in paths
                assert probe["httpGet"]["port"] in ports[name]
            else:
                assert probe["tcpSocket"]["port"] in ports[name]
        assert "exec" not in probes["liveness"]
        assert probes["liveness"].get("httpGet", {"path": "/api/health"})["path"] == "/api/health"


def test_ports_are_those_of_the_settings() -> None:
    """A port that nobody listens on is found when the alarm stays silent."""
    settings = literals(FOLDER / "base" / "kustomization.yaml", "journeys-settings")
    for name in PROCESSES:
        ports = {port["name"]: str(port["containerPort"]) for port in container(name)["ports"]}
        own = {pair["name"]: pair.get("value") for pair in container(name)["env"]}
        assert ports["metrics"] == settings["JOURNEYS_METRICS_PORT"]
        assert ports.get("http", settings["JOURNEYS_API_PORT"]) == settings["JOURNEYS_API_PORT"]
        assert ports.get("temporal-metrics") == own.get("JOURNEYS_TEMPORAL_METRICS_PORT")
    monitored = {endpoint["port"] for endpoint in the("PodMonitor", "journeys")["spec"]["podMetricsEndpoints"]}
    assert monitored == {"metrics", "temporal-metrics"}
    Settings.model_validate({name.removeprefix("JOURNEYS_").lower(): value for name, value in settings.items()})


def test_nobody_is_killed_before_what_is_under_way_is_done() -> None:
    """The grace period outlasts the process's own, and the wait before SIGTERM with it."""
    grace = {name: PODS[name]["terminationGracePeriodSeconds"] for name in PROCESSES}
    pause = container("api")["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert grace["api"] >= pause + api_main.GRACE_S + 10
    assert api_main.GRACE_S >= patience.BODY_TIME + 10  # the body, and its commit (EventStore)
    assert grace["worker"] >= worker_main.GRACE.total_seconds() + 30
    # A statement (adapters/postgres/engine.py), and the commands of an event, of which each waits for Temporal.
    assert grace["router"] >= 30 + len(JOURNEYS) * engine._PATIENCE.total_seconds()


def test_compose_gives_as_much_time() -> None:
    """The other way to deploy."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    grace = {name: int(services[name]["stop_grace_period"].removesuffix("s")) for name in PROCESSES}

    assert grace["api"] >= api_main.GRACE_S
    assert grace["worker"] >= worker_main.GRACE.total_seconds()


def test_a_worker_outlasts_the_mail_server() -> None:
    """Who stops waiting for the verdict leaves a message of which nobody knows whether it went out."""
    import inspect

    from adapters.channels.smtp import SmtpChannel

    patience = inspect.signature(SmtpChannel).parameters
    assert worker_main.GRACE.total_seconds() >= patience["verdict_timeout"].default + patience["timeout"].default


def test_every_metric_of_a_scaler_is_told_with_its_labels() -> None:
    """A scaler on a metric that does not exist would never scale."""
    registry = {metric.name for metric in REGISTRY.collect()}
    backlog = {family.name: set(family._labelnames) for family in Backlog("", system_now).describe()}
    queries = [
        trigger["metadata"]["query"]
        for scaled in ALL
        if scaled["kind"] == "ScaledObject"
        for trigger in scaled["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]

    assert queries
    for query in queries:
        promql_parser.parse(query)
        for name, matchers in re.findall(r"(journeys_\w+)(?:\{([^}]*)\})?", query):
            assert name in registry | set(backlog)
            assert set(re.findall(r"(\w+)=", matchers)) <= backlog[name]


def test_workers_are_counted_by_the_queue_and_the_build_that_they_ask_for() -> None:
    """The names by which Temporal knows them, unless the settings say otherwise."""
    (trigger,) = the("ScaledObject", "worker")["spec"]["triggers"]
    fields = Settings.model_fields
    settings = literals(FOLDER / "base" / "kustomization.yaml", "journeys-settings")

    assert trigger["metadata"]["taskQueue"] == settings.get("JOURNEYS_TASK_QUEUE", fields["task_queue"].default)
    assert trigger["metadata"]["workerDeploymentName"] == settings.get(
        "JOURNEYS_DEPLOYMENT", fields["deployment"].default
    )
    for overlay in OVERLAYS:
        temporal = literals(FOLDER / "overlays" / overlay / "kustomization.yaml", "journeys-temporal")
        own = (FOLDER / "overlays" / overlay / "worker" / "kustomization.yaml").read_text(encoding="utf-8")
        namespace = temporal["TEMPORAL_NAMESPACE"]
        assert namespace in (own if overlay == "temporal-cloud" else trigger["metadata"]["namespace"])


def test_no_more_routers_than_lanes_can_keep_busy() -> None:
    """Each takes some lanes at a time; one more would find none."""
    assert the("ScaledObject", "router")["spec"]["maxReplicaCount"] * lanes.AT_ONCE <= ids.SHARDS


def connections() -> dict[str, int]:
    """How many connections to Postgres each process opens at most."""

    def of(pool: int) -> int:
        made = create_engine("postgresql+psycopg://x/y", pool_size=pool).sync_engine.pool
        assert isinstance(made, QueuePool)
        return made.size() + made._max_overflow

    return {"api": of(10), "router": of(worker_main.POOL) + 2, "worker": of(worker_main.POOL)}  # LISTEN, and a scrape


def test_postgres_has_room_for_every_process_that_autoscaling_may_start() -> None:
    """Two builds of the worker at once, a quarter more API during a rollout, a router more, and some to spare."""
    api = the("HorizontalPodAutoscaler", "api")["spec"]["maxReplicas"]
    most = {
        "api": math.ceil(1.25 * api),
        "router": the("ScaledObject", "router")["spec"]["maxReplicaCount"] + 1,
        "worker": 2 * the("ScaledObject", "worker")["spec"]["maxReplicaCount"],
    }
    rows = {name: (int(a), int(b)) for name, a, b in re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)}
    (room,) = re.findall(r"`max_connections` of ([\d,]+)", PAGE)

    assert rows == {name: (most[name], each) for name, each in connections().items()}
    assert int(room.replace(",", "")) >= sum(most[name] * each for name, each in connections().items()) + 50


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_may_do_nothing_but_its_work(name: str) -> None:
    """Pod Security Standards, profile restricted (kubernetes.io/docs/concepts/security/pod-security-standards)."""
    pod, own = PODS[name], container(name)
    (user,) = re.findall(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(user)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert {"requests", "limits"} == set(own["resources"])


@pytest.mark.parametrize("name", PROCESSES)
def test_a_node_or_a_zone_that_goes_takes_one_of_several(name: str) -> None:
    """A budget for disruptions and a spread over nodes and zones, for exactly these pods; nobody goes to zero."""
    labels: Mapping[str, str] = the("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    spread = PODS[name]["topologySpreadConstraints"]
    kinds = {"ScaledObject", "HorizontalPodAutoscaler"}
    scaler = [o for o in ALL if o["kind"] in kinds and o["metadata"]["name"] == name]

    assert the("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    assert {rule["topologyKey"] for rule in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(rule["labelSelector"]["matchLabels"] == labels for rule in spread)
    assert the("Deployment", name)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (limits,) = [o["spec"] for o in scaler]
    assert limits.get("minReplicas", limits.get("minReplicaCount")) >= 2


def test_the_network_is_closed_but_for_what_is_needed() -> None:
    """Every policy chooses pods of ours, and every port by name exists."""
    policies = [o for o in ALL if o["kind"] == "NetworkPolicy"]
    names = {port["name"] for name in PROCESSES for port in container(name)["ports"]}
    for policy in policies:
        assert policy["spec"]["podSelector"]["matchLabels"].items() >= {"app.kubernetes.io/name": "journeys"}.items()
        ports = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]
        assert set(ports) <= names

    assert {"Ingress", "Egress"} == set(the("NetworkPolicy", "journeys")["spec"]["policyTypes"])
