"""Pages in the Airflow UI: the data docs of the audits, under Browse.

(The dbt docs page comes from the Cosmos plugin.) The site is static and served by the API server, which listens on
loopback unless told otherwise.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from starlette.staticfiles import StaticFiles

from include.settings import get_settings

DATA_DOCS_PREFIX = "/data-docs"


def data_docs_app() -> StaticFiles:
    """The data docs' folder as an ASGI app. It may not exist yet: the first audit makes it."""
    return StaticFiles(directory=get_settings().home / "data_docs", html=True, check_dir=False)


class QuantStreamPages(AirflowPlugin):
    """Registers the pages."""

    name = "quantstream_pages"
    fastapi_apps: list[dict[str, Any]] = [  # noqa: RUF012  # the base class has it so
        {"app": data_docs_app(), "url_prefix": DATA_DOCS_PREFIX, "name": "QuantStream data docs"}
    ]
    external_views: list[dict[str, Any]] = [  # noqa: RUF012
        {
            "name": "Data docs",
            "href": f"{DATA_DOCS_PREFIX}/index.html",
            "destination": "nav",
            "category": "browse",
            "url_route": "data-docs",
        }
    ]
