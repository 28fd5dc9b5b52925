"""A container's health check: is this part of Airflow well? Asks the API server, so it costs no import of Airflow.

Usage: python docker/healthy.py metadatabase|scheduler|dag_processor|triggerer
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

ADDRESS = os.environ.get("AIRFLOW_HEALTH_URL", "http://api-server:8080/api/v2/monitor/health")


def state(part: str) -> str:
    """What Airflow says about the part: `healthy`, `unhealthy` or None's text for a part that never ran."""
    with urllib.request.urlopen(ADDRESS, timeout=5) as answer:  # noqa: S310  # our own API server
        return str(json.load(answer).get(part, {}).get("status"))


if __name__ == "__main__":
    found = state(sys.argv[1])
    sys.exit(None if found == "healthy" else f"{sys.argv[1]} is {found}")
