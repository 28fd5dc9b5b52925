"""Where the stack keeps its things, and who can read them."""

import json
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.stack.layout import Layout, write_private
from include.stack.secrets import load_secrets


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_control_socket_is_in_the_home() -> None:
    assert Layout(Path("/srv/quantstream")).socket() == Path("/srv/quantstream/run/supervisor.sock")


def test_a_long_home_gets_a_short_socket_in_a_private_folder(tmp_path: Path) -> None:
    one, other = Layout(tmp_path / ("x" * 100)), Layout(tmp_path / ("y" * 100))
    assert len(str(one.socket())) < 100
    assert one.socket() == one.socket() != other.socket()
    assert mode(one.socket().parent) == 0o700


def test_a_private_file_is_for_its_owner_alone_also_when_it_was_open_before(tmp_path: Path) -> None:
    path = tmp_path / "stack.env"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_secrets_are_made_once_and_stay_the_same(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = load_secrets(layout)
    assert load_secrets(layout) == first
    assert mode(layout.secrets) == 0o600
    assert load_secrets(Layout(_made(tmp_path / "other"))) != first


def test_secrets_of_before_there_was_an_owner_get_its_password_and_keep_theirs(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    old = asdict(load_secrets(layout))
    del old["postgres"]["owner"]
    layout.secrets.write_text(json.dumps(old))
    found = load_secrets(layout)
    assert found.postgres.owner and found.postgres.analyst == old["postgres"]["analyst"]
    assert load_secrets(layout) == found and mode(layout.secrets) == 0o600


@pytest.mark.parametrize("damage", ["", "{}", '{"postgres": {"airflow": "x"}}', "not json"])
def test_damaged_secrets_are_refused_instead_of_being_replaced(tmp_path: Path, damage: str) -> None:
    layout = Layout(tmp_path)
    layout.secrets.write_text(damage)
    with pytest.raises(ConfigError, match=r"secrets\.json is damaged.*Restore it, or start over"):
        load_secrets(layout)
    assert layout.secrets.read_text() == damage


def _made(path: Path) -> Path:
    path.mkdir()
    return path
