"""`up` and `down` of a real database and a real local AWS: twice, beside each other, and after kill -9.

dbt's build is left out here: it takes most of the time and is tested elsewhere.
"""

import io
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from include.aws import client
from include.errors import ConfigError, QuantStreamError
from include.settings import Settings, load_settings
from include.stack import models
from include.stack import up as up_module
from include.stack.down import down
from include.stack.layout import Layout
from include.stack.lock import alone
from include.stack.programs import MARKER
from include.stack.supervision import Supervisor
from include.warehouse.db import connect
from tests.conftest import free_port, wait_until

pytestmark = pytest.mark.stack


class Stack:
    """One stack in a home of its own, with what it said."""

    def __init__(self, home: Path) -> None:
        self.ports = {"postgres_port": free_port(), "aws_port": free_port(), "airflow_port": free_port()}
        self.settings = load_settings(home=home, **self.ports)
        self.supervisor = Supervisor(self.settings)

    def up(self) -> str:
        said = io.StringIO()
        self.settings = up_module.up(self.settings, Console(file=said, width=300), airflow=False).settings
        return said.getvalue()

    def down(self) -> str:
        said = io.StringIO()
        down(self.settings, Console(file=said, width=300))
        return said.getvalue()

    def processes(self) -> list[psutil.Process]:
        """Everything that carries this home's marker."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                marked = process.environ().get(MARKER) == str(self.settings.home)
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill_supervisor(self) -> None:
        os.kill(self.supervisor.pid(), signal.SIGKILL)
        wait_until(lambda: not self.supervisor.answers(), 5, "the supervisor is gone")


@pytest.fixture
def new_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Stack]]:
    monkeypatch.setattr(models, "up_to_date", lambda settings: True)
    made: list[Stack] = []

    def make(name: str) -> Stack:
        made.append(Stack(tmp_path / name))
        return made[-1]

    yield make
    for stack in made:
        stack.down()


@pytest.fixture
def stack(new_stack: Callable[[str], Stack]) -> Stack:
    return new_stack("home")


def note(settings: Settings, text: str) -> None:
    with connect(settings) as conn:
        conn.execute("insert into ops.outcomes (step, ok, run_id) values ('note', true, %s)", [text])


def notes(settings: Settings) -> list[str]:
    with connect(settings) as conn:
        return [row[0] for row in conn.execute("select run_id from ops.outcomes order by outcome_id").fetchall()]


def test_what_was_there_before_down_is_there_after_up_the_stream_included(stack: Stack) -> None:
    stack.up()
    note(stack.settings, "before")
    kinesis, s3 = client(stack.settings, "kinesis"), client(stack.settings, "s3")
    kinesis.put_record(StreamName=stack.settings.stream, Data=b"kept", PartitionKey="a")
    s3.put_object(Bucket=stack.settings.bucket, Key="kept", Body=b"kept")
    said = stack.down()
    assert said.index("stop aws") < said.index("stop postgres"), "the database goes last"
    assert stack.processes() == []

    stack.up()
    assert notes(stack.settings) == ["before"]
    assert s3.get_object(Bucket=stack.settings.bucket, Key="kept")["Body"].read() == b"kept"
    (shard,) = kinesis.list_shards(StreamName=stack.settings.stream)["Shards"]
    place = kinesis.get_shard_iterator(
        StreamName=stack.settings.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=place["ShardIterator"])["Records"]
    assert [record["Data"] for record in records] == [b"kept"]


def test_a_second_up_finds_what_runs_and_says_so(stack: Stack) -> None:
    stack.up()
    pids = {process.name: process.pid for process in stack.supervisor.processes().values()}
    assert "runs already: aws, postgres" in stack.up()
    assert {process.name: process.pid for process in stack.supervisor.processes().values()} == pids


def test_a_second_up_starts_what_is_missing(stack: Stack) -> None:
    stack.up()
    stack.supervisor.stop_programs(["aws"])
    said = stack.up()
    assert "runs already" not in said
    assert stack.supervisor.processes()["aws"].running


def test_up_goes_on_after_the_supervisor_was_killed(stack: Stack) -> None:
    stack.up()
    note(stack.settings, "before")
    stack.kill_supervisor()
    said = stack.up()
    assert "of a killed stack" in said
    assert notes(stack.settings) == ["before"]
    assert {name for name, process in stack.supervisor.processes().items() if process.running} == {"aws", "postgres"}


def test_down_stops_everything_after_the_supervisor_was_killed(stack: Stack) -> None:
    stack.up()
    stack.kill_supervisor()
    assert stack.processes(), "orphans, to begin with"
    assert "of a killed stack" in stack.down()
    assert stack.processes() == []


def test_up_works_after_everything_was_killed_at_once(stack: Stack) -> None:
    stack.up()
    note(stack.settings, "committed")
    daemon = psutil.Process(stack.supervisor.pid())
    for process in [daemon, *daemon.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # Postgres ends its short-lived workers itself
            process.kill()
    assert (stack.settings.home / "postgres" / "postmaster.pid").exists(), "stale, as a power cut leaves it"
    assert "removed stale" in stack.up()
    assert notes(stack.settings) == ["committed"]


def test_a_killed_local_aws_comes_back_with_all_that_the_platform_needs(stack: Stack) -> None:
    stack.up()
    pid = stack.supervisor.processes()["aws"].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    kinesis, sns = client(stack.settings, "kinesis"), client(stack.settings, "sns")

    def complete() -> bool:
        with suppress(Exception):  # until it answers again
            streams = kinesis.list_streams()["StreamNames"]
            subscriptions = sns.list_subscriptions()["Subscriptions"]
            return streams == [stack.settings.stream] and len(subscriptions) == 1
        return False

    wait_until(complete, 30, "stream, topic and subscription are there again")


def test_a_second_stack_lives_beside_the_first(new_stack: Callable[[str], Stack]) -> None:
    one, other = new_stack("one"), new_stack("other")
    other.settings = load_settings(home=other.settings.home, **one.ports)  # it asks for the same ports
    one.up()
    said = other.up()
    assert "is in use by" in said
    note(one.settings, "of one")
    assert notes(other.settings) == []
    other.down()
    assert {name for name, process in one.supervisor.processes().items() if process.running} == {"aws", "postgres"}


def test_a_port_that_was_asked_for_and_is_taken_stops_up_before_anything_starts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        monkeypatch.setenv("QUANTSTREAM_POSTGRES_PORT", str(port))
        stack.settings = load_settings(home=stack.settings.home)
        with pytest.raises(ConfigError, match=rf"QUANTSTREAM_POSTGRES_PORT = {port}: the port is in use by"):
            stack.up()
    assert stack.processes() == []


def test_a_program_that_does_not_start_is_named_with_the_end_of_its_log(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up()
    stack.down()
    (stack.settings.home / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(QuantStreamError, match=r"(?s)postgres stopped while starting.*postgres\.log.*no_such_setting"):
        stack.up()


def test_only_one_up_or_down_works_at_a_time(stack: Stack) -> None:
    layout = Layout(stack.settings.home)
    layout.make()
    with alone(layout), pytest.raises(QuantStreamError, match="another `quantstream up` or `down` works on"):
        stack.up()


def test_down_of_nothing_is_fine(stack: Stack) -> None:
    assert stack.down() == ""
