"""Ports: what was asked for, or the next free one where nobody asked."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.stack import ports
from tests.conftest import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_a_free_port_is_taken_as_it_is() -> None:
    port = free_port()
    assert ports.choose("aws_port", port, explicit=True) == port


def test_a_port_in_use_that_nobody_asked_for_is_replaced_by_the_next_free_one(taken: int) -> None:
    assert taken < ports.choose("aws_port", taken, explicit=False) <= taken + 200


def test_a_port_in_use_that_was_asked_for_is_an_error_with_port_holder_and_remedy(taken: int) -> None:
    with pytest.raises(ConfigError, match=rf"QUANTSTREAM_AWS_PORT = {taken}: .*in use by .*set another port"):
        ports.choose("aws_port", taken, explicit=True)


def test_one_port_is_not_given_out_twice() -> None:
    port = free_port()
    assert ports.choose("aws_port", port, explicit=False, taken=[port]) != port


def test_a_setting_is_explicit_in_the_environment_and_in_the_env_file_but_not_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not ports.is_explicit("aws_port")
    monkeypatch.setenv("QUANTSTREAM_AWS_PORT", "4566")
    assert ports.is_explicit("aws_port")
    (tmp_path / "env").write_text("QUANTSTREAM_AIRFLOW_PORT=9090\n")
    monkeypatch.setenv("QUANTSTREAM_ENV_FILE", str(tmp_path / "env"))
    assert ports.is_explicit("airflow_port")
    assert not ports.is_explicit("postgres_port")
