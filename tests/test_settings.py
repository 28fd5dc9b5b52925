"""Settings: typed, in one place, documented, and refused with name, value and what is allowed."""

import re
from pathlib import Path

import pytest

from include.errors import ConfigError
from include.settings import PREFIX, ROOT, Settings, load_settings

EXAMPLE = ROOT / ".env.example"


def test_a_wrong_value_is_refused_with_its_name_the_value_and_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_AIRFLOW_PORT", "80")
    monkeypatch.setenv("QUANTSTREAM_POSTGRES", "mysql")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    text = str(caught.value)
    assert re.search(r"QUANTSTREAM_AIRFLOW_PORT = '80': .*greater than or equal to 1024 \(port of the Airflow UI", text)
    assert re.search(r"QUANTSTREAM_POSTGRES = 'mysql': .*'embedded' or 'external'", text)
    assert "Change it in the environment or in .env" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", ["", "simulator,nasdaq", "NYSE"])
def test_an_unknown_source_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("QUANTSTREAM_SOURCES", value)
    with pytest.raises(ConfigError, match=r"QUANTSTREAM_SOURCES.*allowed: .*simulator"):
        load_settings()


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(coingecko_api_key=["hunter2"])
    assert "hunter2" not in str(caught.value)
    assert "(hidden)" in str(caught.value)


def test_secrets_do_not_appear_in_text(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None, home=tmp_path, coingecko_api_key="hunter2", warehouse_dsn="postgresql://a:hunter2@h/d"
    )
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_environment_wins_over_env_wins_over_what_up_chose_wins_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stack.env").write_text(
        "QUANTSTREAM_AWS_PORT=2001\nQUANTSTREAM_POSTGRES_PORT=2001\nQUANTSTREAM_AIRFLOW_PORT=2001\n"
    )
    (tmp_path / "env").write_text("QUANTSTREAM_AWS_PORT=2002\nQUANTSTREAM_POSTGRES_PORT=2002\n")
    monkeypatch.setenv("QUANTSTREAM_ENV_FILE", str(tmp_path / "env"))
    monkeypatch.setenv("QUANTSTREAM_AWS_PORT", "2003")
    found = load_settings(home=tmp_path)
    assert (found.aws_port, found.postgres_port, found.airflow_port, found.shards) == (2003, 2002, 2001, 1)


def test_a_relative_path_is_relative_to_the_project_and_not_to_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTSTREAM_HOME", "elsewhere")
    assert load_settings().home == ROOT / "elsewhere"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION", "QUANTSTREAM_AWS_REGION"])
def test_the_region_is_taken_from_where_aws_tools_take_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "eu-central-1")
    assert load_settings().aws_region == "eu-central-1"


def test_the_example_documents_every_setting_and_no_other() -> None:
    documented = re.findall(rf"^#{PREFIX}(\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(name.upper() for name in Settings.model_fields)


def test_each_line_of_the_example_has_an_explanation_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#" + PREFIX):
            assert lines[number - 1].startswith("#"), f".env.example:{number + 1} {line} is not explained"


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    used = tmp_path / "env"
    used.write_text(re.sub(rf"^#({PREFIX})", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert Settings(_env_file=used) == Settings(_env_file=None)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
