"""`down` and `clean`: stop what `up` started and nothing else; the state stays, or goes."""

from __future__ import annotations

import shutil

from rich.console import Console

from include.settings import Settings
from include.stack import leftovers
from include.stack.layout import Layout
from include.stack.lock import alone
from include.stack.programs import STOP_ORDER
from include.stack.progress import Steps
from include.stack.supervision import Supervisor


def down(settings: Settings, console: Console) -> bool:
    """Stop the stack of this home, Airflow first and the database last. False if nothing of it ran.

    Works as well when the supervisor itself was killed. The local AWS writes its stream and queues to disk at its stop.
    """
    layout = Layout(settings.home)
    if not layout.run.is_dir():
        return False
    with alone(layout), Steps(console) as steps:
        supervisor = Supervisor(settings)
        if not supervisor.answers():
            said = leftovers.clear(layout)
            if said:
                steps.note(said)
            return "stopped" in said
        for group in STOP_ORDER:
            running = {name for name, process in supervisor.processes().items() if process.pid}
            if running & set(group):
                with steps.step(f"stop {', '.join(name for name in group if name in running)}"):
                    supervisor.stop_programs(group)
        with steps.step("stop supervisor"):
            supervisor.shutdown()
            leftovers.clear(layout)
        return True


def remove_home(settings: Settings) -> None:
    """Remove all state of a stopped stack."""
    layout = Layout(settings.home)
    layout.socket().unlink(missing_ok=True)
    shutil.rmtree(layout.home)


def is_stack_home(settings: Settings) -> bool:
    """Whether `up` has made this folder: `clean` removes no other."""
    return Layout(settings.home).secrets.is_file()
