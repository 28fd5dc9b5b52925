"""The local AWS as the supervisor runs it: MiniStack, and after every start what the platform needs in it.

MiniStack keeps the stream and the queues in memory and writes them to disk when it is stopped; S3 objects are on disk
at once. A killed emulator therefore comes back with the stream as of its last clean stop, or with none: it is
provisioned again by itself, so a crash costs the records that were not landed yet and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time

from include.settings import load_settings
from include.stack.layout import Layout, write_private
from include.stack.local_aws import ping, provision_with_lake

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 60.0


def main() -> None:
    """Serve until SIGTERM; ports and folders come from `local_aws.environment`."""
    from ministack.app import main as serve

    sys.argv = ["ministack"]
    threading.Thread(target=_provision, name="provision", daemon=True).start()
    serve()


def _provision() -> None:
    """Make what is missing, then say so in `run/aws.json`. A failure ends the process: the supervisor tries again."""
    try:
        settings = load_settings()
        end = time.monotonic() + _PATIENCE_SECONDS
        while not ping(settings.aws_port):
            if time.monotonic() > end:
                raise TimeoutError(f"no answer on port {settings.aws_port} within {_PATIENCE_SECONDS:g} s")
            time.sleep(0.1)
        made = provision_with_lake(settings)
        said = {"pid": os.getpid(), "topic_arn": made.topic_arn, "inbox_url": made.inbox_url, "created": made.created}
        write_private(Layout(settings.home).provisioned, json.dumps(said))
    except Exception:
        log.exception("the local AWS could not be provisioned")
        os._exit(1)


if __name__ == "__main__":
    main()
