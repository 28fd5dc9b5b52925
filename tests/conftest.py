"""Real parts for the tests: an embedded Postgres and a local AWS on free ports, started once for the whole session.

`settings` gives each test a warehouse, a stream, a bucket and a topic of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include import aws
from include.settings import ROOT, Settings
from include.stack import local_aws, postgres

os.environ["QUANTSTREAM_ENV_FILE"] = ""  # a developer's .env must not change what is tested
for _name in [name for name in os.environ if name.startswith("QUANTSTREAM_") and "TEST" not in name]:
    if _name != "QUANTSTREAM_ENV_FILE":
        del os.environ[_name]

SHARED_DATA = ROOT.parent / "shared" / "data"


# Files of a minute and more, the longest first. Begun last, one of them would leave the other worker without work.
_LONGEST = (
    "tests/replay/test_rebuild.py", "tests/pipeline/test_crash_sweep.py", "tests/history/test_overlaps.py",
    "tests/transform/test_spans.py", "tests/transform/test_order.py", "tests/transform/test_runner.py",
    "tests/pipeline/test_history_lane.py", "tests/history/test_backfill.py", "tests/history/test_failures.py",
    "tests/history/test_crash_sweep.py", "tests/replay/test_commands.py", "tests/test_real_input.py",
    "tests/stack/test_provision.py", "tests/transform/test_upgrade.py", "tests/transform/test_sources.py",
    "tests/transform/test_step.py", "tests/transform/test_candles.py",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files, so that what a file sets up is set up once; all that use the platform share one.

    They take them in the order of the items: the platform first, then the longest.
    """
    order = {file: place for place, file in enumerate(("platform", *_LONGEST))}
    places: dict[pytest.Item, int] = {}
    for item in items:
        group = "platform" if "platform" in getattr(item, "fixturenames", ()) else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
        places[item] = order.get(group, len(order))
    items.sort(key=places.__getitem__)


@pytest.fixture(scope="module", autouse=True)
def _no_event_loop_is_left() -> Iterator[None]:
    """What a file leaves running would make `asyncio.run` fail in the tests after it, and only in some orders."""
    yield
    left = asyncio._get_running_loop()
    assert left is None, f"this file's tests are over, and an event loop still runs in this thread: {left}"


_platform: list[contextlib.ExitStack] = []


def _stop_platform() -> None:
    while _platform:
        _platform.pop().close()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The platform is stopped after its last test: it would take half a processor from all others until the end."""
    if "platform" in getattr(item, "fixturenames", ()) and "platform" not in getattr(nextitem, "fixturenames", ()):
        _stop_platform()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll a condition; fail the test naming what did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real market data is not beside the project (../shared/data)")
    return SHARED_DATA


@dataclass(frozen=True)
class Servers:
    """Running servers shared by all tests; nothing in them is shared between tests."""

    home: Path
    postgres_port: int
    passwords: postgres.Passwords
    aws_port: int

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        dsn = f"postgresql://postgres:{self.passwords.postgres}@127.0.0.1:{self.postgres_port}/{database}"
        return psycopg.connect(dsn, autocommit=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    # Not below pytest's own folder: another session resets its mode, and the database runs as another user than root.
    home = Path(tempfile.mkdtemp(prefix="quantstream-tests-"))
    passwords = postgres.Passwords.generate()
    data, port, aws_port = home / "postgres", free_port(), free_port()
    postgres.initialize(data, passwords)
    with (data / "postgresql.conf").open("a") as conf:
        # tests that crash the server start their own; a connection costs half without the stretching of passwords
        conf.write("fsync = off\nfull_page_writes = off\nscram_iterations = 1\n")
    user = postgres.system_user()
    (home / "aws" / "tmp").mkdir(parents=True)
    with (
        contextlib.ExitStack() as stack,
        (home / "postgres.log").open("w") as log,
        (home / "aws.log").open("w") as aws_log,
    ):
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        database = subprocess.Popen(
            postgres.command(data, port), user=user, group=user, extra_groups=[] if user else None, cwd="/",
            stdout=log, stderr=log,
        )  # fmt: skip
        stack.callback(_stop, database)
        emulator = subprocess.Popen(
            local_aws.command(), env=os.environ | local_aws.environment(home, aws_port), stdout=aws_log, stderr=aws_log
        )
        stack.callback(_stop, emulator)
        wait_until(lambda: postgres.ping(port, passwords), 30, f"Postgres answers (log: {home / 'postgres.log'})")
        postgres.provision(port, passwords)
        wait_until(lambda: local_aws.ping(aws_port), 60, f"the local AWS answers (log: {home / 'aws.log'})")
        session = _Session(aws._session())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(aws, "_session", lambda: session)
            yield Servers(home, port, passwords, aws_port)


_unmade: list[Settings] = []
_making = threading.RLock()


class _Session:
    """boto3's session, which makes what the settings of a test name on AWS before the first client does anything."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def client(self, *arguments: Any, **named: Any) -> Any:
        make_aws()
        return self._session.client(*arguments, **named)


def make_aws() -> None:
    """Make the stream, bucket, topic and inbox of the test's settings, for clients that are not made by include.aws.

    It takes 0.2 s, and half of the tests with a warehouse ask AWS for nothing.
    """
    with _making:
        while _unmade:
            settings = _unmade.pop()
            made = local_aws.provision(settings)
            assert (made.topic_arn, made.inbox_url) == (settings.topic_arn, settings.inbox_url)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def template_warehouse(servers: Servers) -> str:
    """A migrated warehouse with dbt's views and empty tables, copied for each test (a copy takes 0.1 s)."""
    name = "template_warehouse"
    make_warehouse(servers, name, template="template0")
    settings = warehouse_settings(servers, name)
    from include.warehouse.db import connect
    from include.warehouse.migrate import migrate

    migrate(settings)
    with connect(settings) as conn:  # tests put rows of this year, and of the clock's, straight into tables
        conn.execute("select ops.make_event_partitions(array['2026-01-01Z', now()]::timestamptz[])")
    return name


@pytest.fixture(scope="session")
def template_marts(servers: Servers, template_warehouse: str) -> str:
    """The same with dbt's views and empty tables in it."""
    name = "template_marts"
    make_warehouse(servers, name, template=template_warehouse)
    from include.transform.runner import build_all

    build_all(warehouse_settings(servers, name))
    gc.collect()
    gc.freeze()  # what is there now (dbt with its project, all tests) is not looked through again and again
    return name


def make_warehouse(servers: Servers, name: str, *, template: str) -> None:
    with servers.admin() as conn:
        conn.execute(f'create database "{name}" owner quantstream_owner template "{template}" strategy file_copy')
        conn.execute(f'revoke all on database "{name}" from public')
        conn.execute(f'grant connect, temporary on database "{name}" to quantstream')
        conn.execute(f'grant connect on database "{name}" to analysts')


def warehouse_settings(servers: Servers, database: str, **overrides: object) -> Settings:
    """Settings for one warehouse, with a stream, bucket, topic and inbox named after it."""
    dsns = {
        name: dsn.rsplit("/", 1)[0] + f"/{database}"
        for name, dsn in postgres.dsns(servers.postgres_port, servers.passwords).items()
    }
    name = database.replace("_", "-")
    home = servers.home / "homes" / database
    home.mkdir(parents=True, exist_ok=True)
    return Settings(
        _env_file=None,
        home=home, **dsns, aws_port=servers.aws_port, aws_endpoint_url=f"http://127.0.0.1:{servers.aws_port}",
        stream=f"{name}-events", bucket=f"{name}-lake", topic=f"{name}-alerts.fifo", inbox=f"{name}-inbox.fifo",
        dead_letters=f"{name}-dead.fifo",
        **overrides,
    )  # fmt: skip


@pytest.fixture
def make_settings(servers: Servers, template_warehouse: str) -> Iterator[Callable[..., Settings]]:
    """A function that makes settings (with overrides) on a new warehouse."""
    made: list[str] = []

    def make(*, template: str | None = None, **overrides: object) -> Settings:
        name = f"test_{uuid.uuid4().hex[:12]}"
        make_warehouse(servers, name, template=template or template_warehouse)
        made.append(name)
        settings = warehouse_settings(servers, name, **overrides)
        if settings.aws_endpoint_url:
            account = "000000000000"
            inbox_url = f"http://127.0.0.1:{servers.aws_port}/{account}/{settings.inbox}"
            topic_arn = f"arn:aws:sns:us-east-1:{account}:{settings.topic}"
            settings = settings.model_copy(update={"topic_arn": topic_arn, "inbox_url": inbox_url})
            _unmade.append(settings)
        return settings

    yield make
    _unmade.clear()
    with servers.admin() as conn:
        for name in made:
            conn.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """A migrated warehouse and its own stream, bucket, topic and inbox (no dbt tables)."""
    return make_settings()


@pytest.fixture
def marts_settings(make_settings: Callable[..., Settings], template_marts: str) -> Settings:
    """The same with dbt's views and empty tables."""
    return make_settings(template=template_marts)


@pytest.fixture(scope="session")
def platform() -> Iterator[Settings]:
    """A whole platform as `up` starts it, its first minute done, Airflow running our DAGs. Slow, so one for all."""
    from rich.console import Console

    from include.settings import load_settings
    from include.stack.down import down
    from include.stack.up import up

    home = Path(tempfile.mkdtemp(prefix="quantstream-platform-"))
    settings = load_settings(home=home, postgres_port=free_port(), aws_port=free_port(), airflow_port=free_port())
    console = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.callback(down, settings, console)
        running = up(settings, console).settings
        _platform.append(stack.pop_all())
    yield running
    _stop_platform()
