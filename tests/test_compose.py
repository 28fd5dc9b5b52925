"""docker-compose.yml, checked as far as it can be without an engine: its shape, and that all it names exists."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import psycopg
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from include.settings import PREFIX, ROOT, Settings

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<has_default>:-)(?P<default>[^}]*))?\}")
NOT_SETTINGS = {PREFIX + "ENV_FILE", PREFIX + "SECRETS_DIR"}  # where settings come from

Duration = Annotated[str, StringConstraints(pattern=r"^\d+(ms|s|m)$")]
Words = Annotated[list[str], Field(min_length=1)]


class Strict(BaseModel):
    """Only the keys of the compose specification that we use, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid")


class Build(Strict):
    context: str
    dockerfile: str


class Health(Strict):
    test: Words
    interval: Duration
    timeout: Duration
    retries: int
    start_period: Duration


class Dependency(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Logging(Strict):
    driver: str
    options: dict[str, str]


class Service(Strict):
    image: str
    build: Build | None = None
    user: str | None = None
    init: bool
    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    logging: Logging
    environment: dict[str, str] = {}
    secrets: list[str] = []
    volumes: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:/[\w/.-]+$")]] = []
    tmpfs: list[str] = []
    shm_size: str | None = None
    ports: list[str] = []
    command: Words | None = None
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health | None = None
    stop_signal: str | None = None
    stop_grace_period: Duration | None = None
    profiles: list[str] = []


class SecretFile(Strict):
    file: str


class Compose(Strict):
    name: str
    services: dict[str, Service]
    volumes: dict[str, dict[str, str]]
    secrets: dict[str, SecretFile]


@cache
def compose() -> Compose:
    """The file with every variable at its default; its `x-` parts serve only to be merged."""
    whole = yaml.safe_load(COMPOSE.read_text())
    return Compose.model_validate({key: interpolated(part) for key, part in whole.items() if not key.startswith("x-")})


def interpolated(node: Any) -> Any:
    """As compose does it: in the texts of the parsed file, so a number in a variable stays a text."""
    if isinstance(node, dict):
        return {key: interpolated(part) for key, part in node.items()}
    if isinstance(node, list):
        return [interpolated(part) for part in node]
    return VARIABLE.sub(lambda found: found["default"] or "", node) if isinstance(node, str) else node


def services() -> dict[str, Service]:
    return compose().services


def every_service() -> list[str]:
    return list(yaml.safe_load(COMPOSE.read_text())["services"])


def test_it_has_the_shape_of_the_compose_specification() -> None:
    expected = {"postgres", "aws", "provision", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert {name for name, service in services().items() if not service.profiles} == expected


def test_there_is_a_collector_of_each_exchange_in_a_profile_of_its_name() -> None:
    from include.feeds import NAMES

    found = {name: (one.profiles, one.command, one.restart) for name, one in services().items() if one.profiles}
    assert found == {
        f"collect-{exchange}": ([exchange], ["quantstream", "collect", exchange], "unless-stopped")
        for exchange in NAMES
    }
    for name in found:
        assert "state:/var/lib/quantstream" in services()[name].volumes, "where it keeps what the stream has not taken"


def test_docker_itself_accepts_it(tmp_path: Path) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker client with the compose plugin on this machine")
    for path in (COMPOSE, ROOT / "docker"):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    subprocess.run([tmp_path / "docker" / "make-secrets"], check=True, capture_output=True)
    done = subprocess.run(
        ["docker", "compose", "-f", tmp_path / "docker-compose.yml", "config", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_variable_is_documented_and_has_a_default() -> None:
    documented = re.findall(r"^#?\s*(QUANTSTREAM_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    variables = {found["name"]: found["has_default"] for found in VARIABLE.finditer(COMPOSE.read_text())}
    assert variables
    assert [name for name in variables if name not in documented] == []
    assert [name for name, has_default in variables.items() if not has_default] == []


@pytest.mark.parametrize("name", every_service())
def test_every_setting_exists_and_takes_its_value(name: str) -> None:
    ours = {key: value for key, value in services()[name].environment.items() if key.startswith(PREFIX)}
    fields = {key: key.removeprefix(PREFIX).lower() for key in ours if key not in NOT_SETTINGS}
    assert [key for key, field in fields.items() if field not in Settings.model_fields] == []
    Settings(_env_file=None, **{field: ours[key] for key, field in fields.items()})


@pytest.mark.parametrize("name", every_service())
def test_every_option_of_airflow_exists(name: str) -> None:
    package = find_spec("airflow.config_templates")
    assert package is not None and package.submodule_search_locations
    known = yaml.safe_load((Path(package.submodule_search_locations[0]) / "config.yml").read_text())
    for variable in services()[name].environment:
        if variable.startswith("AIRFLOW__"):
            _, section, option = variable.lower().split("__")
            assert option in known[section]["options"], f"{variable} is no option of this Airflow"


@pytest.mark.parametrize("name", every_service())
def test_the_settings_of_all_our_containers_are_the_same(name: str) -> None:
    service = services()[name]
    if service.build is not None:
        assert service.environment == services()["provision"].environment
        assert service.image == services()["provision"].image


@pytest.mark.parametrize("name", every_service())
def test_no_container_can_do_more_than_it_must(name: str) -> None:
    service = services()[name]
    assert service.cap_drop == ["ALL"] and service.security_opt == ["no-new-privileges:true"]
    assert service.read_only
    runs_as = service.user or (re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] if service.build else "root")
    assert runs_as.split(":")[0] not in ("root", "0")


@pytest.mark.parametrize("name", every_service())
def test_no_secret_is_in_the_environment_or_has_a_default(name: str) -> None:
    for variable, value in services()[name].environment.items():
        assert variable.endswith("_FILE") or not re.search(r"PASSWORD|SECRET(?!S_DIR)|_KEY|DSN|TOKEN", variable), (
            variable
        )
        assert "@" not in value, f"{variable} looks like an address with a password"


@pytest.mark.parametrize("secret", ["quantstream_admin_dsn", "quantstream_owner_dsn"])
def test_only_provision_holds_the_superuser_and_the_owner(secret: str) -> None:
    assert {name for name, service in services().items() if secret in service.secrets} == {"provision"}


def test_every_published_port_is_on_loopback_and_published_once() -> None:
    published = [port for service in services().values() for port in service.ports]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published) == 3


def test_every_image_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images = [service.image for service in services().values()] + bases
    assert [image for image in images if not re.search(r":\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image)] == []


def test_the_image_of_the_local_aws_is_the_version_that_is_installed_without_containers() -> None:
    pinned = re.search(r"^ministack\[full\]==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert services()["aws"].image == f"ministackorg/ministack:{pinned[1]}-full"


def test_every_volume_and_secret_is_declared_and_used() -> None:
    volumes = {volume.split(":")[0] for service in services().values() for volume in service.volumes}
    secrets = {secret for service in services().values() for secret in service.secrets}
    assert volumes == set(compose().volumes)
    assert secrets == set(compose().secrets)


@pytest.mark.parametrize("name", every_service())
def test_what_a_service_waits_for_can_happen(name: str) -> None:
    for other, dependency in services()[name].depends_on.items():
        assert other in services()
        if dependency.condition == "service_healthy":
            assert services()[other].healthcheck is not None
        if dependency.condition == "service_completed_successfully":
            assert services()[other].restart == "no"


@pytest.mark.parametrize("name", every_service())
def test_every_program_exists(name: str) -> None:
    service = services()[name]
    if service.command and service.command[0] == "quantstream":
        import typer.main

        from include.cli import app

        assert service.command[1] in typer.main.get_command(app).commands  # type: ignore[attr-defined]
    elif service.command:
        from include.stack.programs import AIRFLOW

        assert service.command[0] == "airflow" and service.command[1] in AIRFLOW
    if service.build and service.healthcheck:
        assert service.healthcheck.test[:2] == ["CMD", "python"]
        assert (ROOT / service.healthcheck.test[2]).is_file()


def test_what_the_image_copies_exists_and_reaches_the_builder() -> None:
    context = next(service.build for service in services().values() if service.build)
    assert (ROOT / context.dockerfile).is_file()
    sources = [
        word for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources and all((ROOT / source).exists() for source in sources)
    assert [source for source in sources if source not in allowed] == []
    assert "--require-hashes" in DOCKERFILE and "PYTHONDONTWRITEBYTECODE" not in DOCKERFILE


def test_make_secrets_makes_each_secret_once_at_random_and_keeps_it(tmp_path: Path) -> None:
    script = Path(shutil.copy(ROOT / "docker" / "make-secrets", tmp_path / "make-secrets"))
    subprocess.run([script], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {str(Path(secret.file)) for secret in compose().secrets.values()} == {
        f"docker/secrets/{name}" for name in made
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    dsns = {
        name: psycopg.conninfo.conninfo_to_dict(text.strip()) for name, text in made.items() if name.endswith("dsn")
    }
    assert {name: (dsn["user"], dsn["dbname"], dsn["host"]) for name, dsn in dsns.items()} == {
        "quantstream_admin_dsn": ("postgres", "postgres", "postgres"),
        "quantstream_owner_dsn": ("quantstream_owner", "warehouse", "postgres"),
        "quantstream_warehouse_dsn": ("quantstream", "warehouse", "postgres"),
        "quantstream_analyst_dsn": ("analyst", "warehouse", "postgres"),
        "quantstream_airflow_dsn": ("airflow", "airflow", "postgres"),
    }
    passwords = [str(dsn["password"]) for dsn in dsns.values()]
    assert len(set(passwords)) == 5 and min(map(len, passwords)) == 48
    assert made["postgres_password"].strip() == dsns["quantstream_admin_dsn"]["password"]

    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_secrets_stay_out_of_git_and_out_of_the_image() -> None:
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[0] == "*"


def test_a_secret_file_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from include.settings import load_settings

    (tmp_path / "quantstream_warehouse_dsn").write_text("postgresql://u:hush@h/d\n")
    (tmp_path / "quantstream_coingecko_api_key").write_text("\n")
    monkeypatch.setenv("QUANTSTREAM_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("QUANTSTREAM_HOME", str(tmp_path / "home"))
    found = load_settings()
    assert found.warehouse_dsn is not None and found.warehouse_dsn.get_secret_value() == "postgresql://u:hush@h/d"
    assert found.coingecko_api_key is None
    assert "hush" not in repr(found)


@pytest.fixture
def api_server() -> Iterator[str]:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"scheduler": {"status": "healthy"}, "triggerer": {"status": None}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("part", "code"), [("scheduler", 0), ("triggerer", 1), ("dag_processor", 1)])
def test_the_health_check_asks_airflow(part: str, code: int, api_server: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "healthy.py", part],
        env={"AIRFLOW_HEALTH_URL": api_server}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
