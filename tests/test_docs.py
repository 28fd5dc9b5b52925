"""What the documents say is true of the code: links, commands, settings, targets, tables, queries, policies."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import typer.main
import yaml

from include.cli import app
from include.lake.tables import RAW_TABLE, TABLES, table_name
from include.quality.suites import RULES
from include.settings import PREFIX, ROOT, Settings

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
POLICIES = sorted((ROOT / "docs" / "aws").glob("*.json"))
NOT_SETTINGS = {"ENV_FILE", "SECRETS_DIR", "TEST_TIMESCALE_DSN"}  # where settings come from, and one of the tests
FOLDERS = ("/raw/*", "/state/*", "/models/*", "/parquet/*", "/athena/*")  # of the bucket
NARROWEST = {"kinesis:ListStreams", "s3:ListAllMyBuckets"}  # AWS knows no resource for these two
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"^(?:dags|dbt|docker(?!/secrets)|docs|include|plugins|tests)/[\w./-]*$")

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code(document: Path) -> list[str]:
    """The lines of its blocks of code, and its code in running text; JSON is neither."""
    text = re.sub(r"^```json\n.*?^```\n", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.strip() for block in blocks for line in block.splitlines()] + spans


def queries(document: Path) -> Iterator[tuple[str, str]]:
    """(role, SQL): blocks of SQL are for the pipeline's role, those of `quantstream sql` for the analyst."""
    text = document.read_text()
    for block in re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (("pipeline", part) for part in re.split(r";\s*(?:--[^\n]*)?(?:\n|\Z)", block) if part.strip())
    for line in code(document):
        if (match := re.search(r'quantstream sql(?: --format \w+)? "(.+?)"', line)) and "..." not in match[1]:
            yield "analyst", match[1]


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(found), f"{target}: no such heading"


@each_document
def test_every_file_named_exists(document: Path) -> None:
    named = {span for span in code(document) if PATH.match(span)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the words after its name. Fails for one that does not exist."""
    found: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(found, "commands") and not (rest and rest[0].startswith("-")):
        if not rest and found.invoke_without_command:
            break
        assert rest and rest[0] in found.commands, f"quantstream {' '.join(words)}: no such command"
        found = found.commands[rest.pop(0)]
    return found, rest


@cache
def commands_in(document: Path) -> list[list[str]]:
    found = []
    for line in code(document):
        for part in re.split(r"[|;&]+\s|\$\(", line.split("#")[0]):
            if match := re.search(r"(?:^|[\s/])quantstream ((?!sql )[a-z-].*|sql .*)", part):
                words = shlex.split(match[1].replace("...", ""))
                found.append(words)
    return found


@each_document
def test_every_command_exists_with_its_options(document: Path) -> None:
    for words in commands_in(document):
        command, rest = command_of(words)
        if command.name == "airflow":
            continue
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert options - known - {"--help"} == set(), f"quantstream {' '.join(words)}"


@each_document
def test_every_setting_exists(document: Path) -> None:
    named = {name.removeprefix(PREFIX) for name in re.findall(r"QUANTSTREAM_[A-Z_]+[A-Z]", document.read_text())}
    assert {name for name in named - NOT_SETTINGS if name.lower() not in Settings.model_fields} == set()


@each_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match[1] for line in code(document) if (match := re.match(r"make ([a-z-]+)", line))}
    assert named - targets == set()


@cache
def mart_columns() -> dict[str, list[str]]:
    """Columns by mart: dbt's, and those of the marts that detection writes."""
    models = [
        model
        for path in (ROOT / "dbt" / "models" / "marts").glob("*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", [])
    ]
    written = {
        name: re.findall(r"^    (\w+) ", body, re.MULTILINE)
        for name, body in re.findall(r"create table marts\.(\w+) \((.*?)\n\);", migrations(), re.DOTALL)
    }
    for name, body in re.findall(r"alter table marts\.(\w+)(\s+add column .*?);\n", migrations(), re.DOTALL):
        written[name] += re.findall(r"\badd column (\w+)", body)
    return {model["name"]: [column["name"] for column in model["columns"]] for model in models} | written


@cache
def migrations() -> str:
    versions = ROOT / "include" / "warehouse" / "migrations" / "versions"
    return "\n".join(path.read_text() for path in sorted(versions.glob("*.sql")))


@each_document
def test_every_table_exists(document: Path) -> None:
    relations = set(re.findall(r"create (?:table|view|function) ((?:raw|ops)\.\w+)", migrations())) | {"ops.migrations"}
    text = document.read_text()
    assert set(re.findall(r"\bmarts\.(\w+)", text)) - set(mart_columns()) == set()
    assert set(re.findall(r"\b(?:raw|ops)\.[a-z]\w+", text)) - relations == set()
    models = {path.stem for path in (ROOT / "dbt" / "models").rglob("*.sql")}
    assert set(re.findall(r"\b(?:int|stg)_[a-z]+__[a-z]+|\bint_[a-z_]+[a-z]", text)) - models == set()


def test_the_data_contract_names_each_mart_with_its_columns() -> None:
    rows = re.findall(
        r"^\| `marts\.(\w+)` \| [\w, ]+ \| ([\w, ]+) \|$", (ROOT / "docs/architecture.md").read_text(), re.M
    )
    assert {mart: columns.split(", ") for mart, columns in rows} == mart_columns()


@pytest.mark.stack
def test_every_query_runs(marts_settings: Settings) -> None:
    assert marts_settings.warehouse_dsn is not None and marts_settings.analyst_dsn is not None
    dsns = {"pipeline": marts_settings.warehouse_dsn, "analyst": marts_settings.analyst_dsn}
    connections = {
        role: psycopg.connect(dsn.get_secret_value(), autocommit=True, options="-c search_path=marts")
        for role, dsn in dsns.items()
    }
    count = 0
    for document in DOCUMENTS:
        for role, query in queries(document):
            count += 1
            try:
                connections[role].execute(query.encode())
            except psycopg.Error as error:
                pytest.fail(f"{document.relative_to(ROOT)}, as {role}: {error}\n{query}")
    assert count > 10
    for connection in connections.values():
        connection.close()


@each_document
def test_every_dag_exists(document: Path) -> None:
    dags = {path.stem for path in (ROOT / "dags").glob("*.py")} | {
        "market_events",
        "market_marts",
    }  # and the two assets
    assert set(re.findall(r"(?<!/)\bmarket_[a-z]+\b", document.read_text())) - dags == set()  # not in a path


def test_every_rule_of_the_runbook_exists() -> None:
    text = (ROOT / "docs/runbooks/load_rejected.md").read_text()
    table = text.split("| failed rule |")[1].split("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named and named <= {rule.name for rule in RULES if rule.level == "batch"}


def test_the_lists_of_decisions_and_runbooks_are_complete() -> None:
    for folder in (ROOT / "docs/adr", ROOT / "docs/runbooks"):
        listed = set(LINK.findall((folder / "README.md").read_text()))
        assert {path.name for path in folder.glob("*.md")} - {"README.md"} <= listed


# AWS policies -------------------------------------------------------------------------------------------------------


def statements(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["Statement"])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_no_policy_allows_a_wildcard(policy: Path) -> None:
    for statement in statements(policy):
        if statement["Effect"] == "Deny":
            continue
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        assert not [action for action in actions if "*" in action]
        if not set(actions) <= NARROWEST:
            assert not [resource for resource in resources if "*" in resource and not resource.endswith(FOLDERS)]
        deletes = [action for action in actions if "Delete" in action and action != "sqs:DeleteMessage"]
        assert not deletes or resources == ["arn:aws:s3:::quantstream-lake/parquet/*"]  # which raw/ can make anew


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_the_policies_name_what_the_settings_name(policy: Path) -> None:
    names = ("stream", "bucket", "topic", "inbox", "dead_letters", "athena_workgroup", "glue_database")
    defaults = {name: Settings.model_fields[name].default for name in names}
    known = {f"stream/{defaults['stream']}", defaults["bucket"], defaults["topic"], defaults["inbox"], "*"}
    known |= {defaults["dead_letters"], "key/KEY"}
    database = defaults["glue_database"]
    known |= {f"workgroup/{defaults['athena_workgroup']}", "catalog", f"database/{database}"}
    known |= {f"table/{database}/{table}" for table in (RAW_TABLE, *map(table_name, TABLES))}
    for statement in statements(policy):
        for resource in listed(statement["Resource"]):
            name = resource.split(":")[-1]
            for folder in FOLDERS:
                name = name.removesuffix(folder)
            assert name.removesuffix("/*") in known, resource


def calls(*folders: str) -> set[str]:
    """The AWS actions behind the calls of boto3 clients in these files."""
    names = {
        "sns:PublishBatch": "sns:Publish", "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
        "s3:ListBuckets": "s3:ListAllMyBuckets", "kinesis:GetWaiter": "kinesis:DescribeStream",
        "sns:GetPaginator": "sns:ListSubscriptionsByTopic", "s3:GetPaginator": "s3:ListBucket",
        "s3:HeadObject": "s3:GetObject", "glue:GetPaginator": "glue:GetTables",
        "athena:GetPaginator": "athena:GetQueryResults",
        "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
        "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    }  # fmt: skip
    text = "\n".join(path.read_text() for pattern in folders for path in ROOT.glob(pattern))
    found = re.findall(r"\b_?(kinesis|s3|sns|sqs|glue|athena)\.([a-z]+(?:_[a-z]+)+)\b", text)
    actions = {f"{service}:{''.join(word.title() for word in method.split('_'))}" for service, method in found}
    return {names.get(action, action) for action in actions} | (
        {"sns:Subscribe"} if "sns.subscribe(" in text else set()
    )


@pytest.mark.parametrize(
    ("duty", "files"),
    [
        ("producer", ["include/stream/producer.py"]),
        ("landing", ["include/stream/consumer.py", "include/lake/raw.py"]),
        ("notifier", ["include/notify/outbox.py", "include/notify/dead_letters.py", "include/lake/raw.py"]),
        ("inbox-reader", ["include/notify/inbox.py"]),
        (
            "provisioner",
            [
                "include/stack/local_aws.py",
                "include/stack/delivery.py",
                "include/lake/catalogue.py",
                "include/lake/lifecycle.py",
            ],
        ),
        ("model-keeper", ["include/lake/model_files.py"]),
        ("compactor", ["include/lake/objects.py", "include/lake/listing.py", "include/lake/catalogue.py"]),
    ],
)
def test_a_policy_allows_exactly_the_calls_that_the_code_makes(duty: str, files: list[str]) -> None:
    allowed = {
        action for statement in statements(ROOT / f"docs/aws/{duty}.json") for action in listed(statement["Action"])
    }
    allowed -= {"kms:GenerateDataKey", "kms:Decrypt"}  # SNS and SQS ask for these in our name
    assert allowed - {"s3:ListBucket"} == calls(*files) - {"s3:ListBucket"}  # mostly it turns a 403 into a 404


def test_an_analyst_may_ask_athena_and_what_athena_needs_in_their_name() -> None:
    allowed = {action for one in statements(ROOT / "docs/aws/analyst.json") for action in listed(one["Action"])}
    ours = calls("include/lake/athena.py")
    assert ours <= allowed
    assert {action for action in allowed - ours if not action.startswith(("s3:", "glue:Get"))} == set()
