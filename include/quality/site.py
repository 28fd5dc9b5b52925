"""The data docs: a static site under `<home>/data_docs`, rendered by Great Expectations, that needs no other server.

An audit writes its own page and the index; nothing else is rendered again. Each page is known by its key, so an audit
that is repeated replaces its page. History is bounded: the last audits, and apart from them the last failed ones.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from include.events import iso
from include.quality.engine import Checked
from include.quality.suites import RULES
from include.settings import Settings

KEPT: Final = 100
KEPT_FAILED: Final = 400
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FAILED: Final = ("rejected", "failed")
_HISTORY: Final = "history.json"
# Values come from outside, and Great Expectations does not escape all of them.
_HARMLESS: Final = str.maketrans({"<": "‹", ">": "›", "&": "＆", '"': "”"})


@dataclass(frozen=True, slots=True)
class Page:
    """What one audit found. `folder` and `name` are its place in the site, `at` (UTC) when it was made."""

    folder: str
    name: str
    title: str
    at: datetime
    state: str
    summary: str
    origin: str = ""
    reasons: Sequence[str] = ()

    @property
    def path(self) -> str:
        """Relative to the site's root."""
        return f"{self.folder}/{self.name}.html"


def site_folder(settings: Settings) -> Path:
    """Where the site lives. Airflow's API server serves it under /data-docs."""
    return settings.home / "data_docs"


def page_file(settings: Settings, page: Page) -> Path:
    """The file of a page."""
    return site_folder(settings) / page.path


def publish(settings: Settings, page: Page, checked: Sequence[Checked]) -> Path:
    """Write a page and the index, drop what is too old, return the page's file. Safe to repeat and to run at once."""
    html = _render(page, checked)
    root = site_folder(settings)
    with _locked(root):
        entry = orjson.loads(orjson.dumps({**asdict(page), "at": iso(page.at), "path": page.path}))
        history = [entry, *(one for one in _history(root) if one["path"] != page.path)]
        kept = _keep(sorted(history, key=lambda one: str(one["at"]), reverse=True))
        _write(root / page.path, html)
        _write(root / "index.html", _template("index.j2").render(pages=kept, kept=KEPT, kept_rejected=KEPT_FAILED))
        _write(root / "rules.html", _rules_page())
        _write(root / "style.css", (_TEMPLATES / "style.css").read_text())
        _write(root / _HISTORY, orjson.dumps(kept).decode())
        for one in history:
            if one not in kept:
                (root / one["path"]).unlink(missing_ok=True)
    return root / page.path


def warm_up(checked: Checked) -> None:
    """Compile the templates by rendering once, into nothing."""
    _rules_page()
    _template("index.j2")
    _render(Page("loads", "0", "warm-up", datetime.fromisoformat("2000-01-01T00:00:00Z"), "accepted", ""), [checked])


def _keep(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest first: the last KEPT of all, and the last KEPT_FAILED that failed."""
    failed = [one for one in history if one["state"] in _FAILED][:KEPT_FAILED]
    return [one for number, one in enumerate(history) if number < KEPT or one in failed]


def _render(page: Page, checked: Sequence[Checked]) -> str:
    renderer, view = _renderer()
    if not checked:
        return str(view.env.get_template("page.j2").render(page=page, sections=[]))
    document = renderer.render(_joined(checked))
    overview = document.sections[0]
    overview.content_blocks = overview.content_blocks[1:2]  # the statistics; our page.j2 says the rest
    return str(view.render(document, page=page))


def _joined(checked: Sequence[Checked]) -> Any:
    """The results of all frames as one result, so that a load has one page."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    results = [_copy(one) for part in checked for one in part.result.results]
    statistics = calc_validation_statistics(results)
    return ExpectationSuiteValidationResult(
        results=results,
        success=statistics.success,
        suite_name="audit",
        statistics={
            "evaluated_expectations": statistics.evaluated_expectations,
            "successful_expectations": statistics.successful_expectations,
            "unsuccessful_expectations": statistics.unsuccessful_expectations,
            "success_percent": statistics.success_percent,
        },
        meta={},
    )


def _copy(result: Any) -> Any:
    """A copy to render, without what could do harm in a page (the renderer writes into what it gets)."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    fields = _harmless(result.to_json_dict())
    fields["result"].pop("unexpected_index_query", None)  # how to find the rows in a frame that nobody has any more
    fields["expectation_config"] = ExpectationConfiguration(**fields["expectation_config"])
    return type(result)(**fields)


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_HARMLESS)
    if isinstance(value, dict):
        return {_harmless(key): _harmless(one) for key, one in value.items()}
    return [_harmless(one) for one in value] if isinstance(value, list) else value


@cache
def _renderer() -> tuple[Any, Any]:
    """Great Expectations' renderer and view, with our templates before its own."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(_TEMPLATES), *filter(None, [view.env.loader])])
    return ValidationResultsPageRenderer(), view


def _template(name: str) -> Any:
    return _renderer()[1].env.get_template(name)


@cache
def _rules_page() -> str:
    return str(_template("rules.j2").render(rules=RULES))


def _history(root: Path) -> list[dict[str, Any]]:
    try:
        return list(orjson.loads((root / _HISTORY).read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return []


def _write(path: Path, text: str) -> None:
    """Whole or not at all: somebody may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One writer at a time: the loads' audit and the marts' may end together."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
