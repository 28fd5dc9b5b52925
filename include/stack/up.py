"""`up`: from nothing, from a stopped or a killed stack, or from a running one, to a running one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from include.settings import Settings
from include.stack import airflow, leftovers, models, services
from include.stack.arrange import arrange, write_stack_env
from include.stack.checks import check_disk, check_python, check_rules
from include.stack.first_minute import cadence_warning, unpause, wait_for_first_minute
from include.stack.layout import Layout
from include.stack.lock import alone
from include.stack.past import bring_in, close_gap, wanted
from include.stack.programs import programs
from include.stack.progress import Steps
from include.stack.secrets import Secrets, load_secrets
from include.stack.supervision import Supervisor


@dataclass(frozen=True, slots=True)
class Up:
    """What runs now: the settings with all ports and addresses, and the seconds that each step took."""

    settings: Settings
    secrets: Secrets
    seconds: dict[str, float]
    found_running: bool


def up(settings: Settings, console: Console, *, airflow: bool = True) -> Up:
    """Start what does not run, and bring it up to date. `airflow=False`: only the database and the local AWS.

    Raises ConfigError, NotRunningError or UnfitMachineError, with the remedy in the text; what runs by then stays up.
    """
    layout = Layout(settings.home)
    with Steps(console) as steps:
        with steps.step("machine") as line:
            check_rules(settings)
            line.say(f"Python {check_python()}, {check_disk(settings.home) / 1024**3:.0f} GB free")
        layout.make()
        with alone(layout):
            return _Start(settings, steps, with_airflow=airflow).run()


class _Start:
    def __init__(self, settings: Settings, steps: Steps, *, with_airflow: bool) -> None:
        self.settings, self.steps, self.with_airflow = settings, steps, with_airflow
        self.layout = Layout(settings.home)
        self.secrets = load_secrets(self.layout)
        self.supervisor = Supervisor(settings)
        self.warm_until: datetime | None = None  # what this start has brought in of the past

    def run(self) -> Up:
        running = self._supervise()
        names = {program.name for program in programs(self.settings, airflow=self.with_airflow)}
        if names <= running:
            self.steps.note(f"runs already: {', '.join(sorted(running))}")
        with ThreadPoolExecutor(2, thread_name_prefix="up") as lanes:
            try:
                aws = lanes.submit(self._aws)
                self._database()
                self.settings = aws.result()
                write_stack_env(self.settings)  # before Airflow, whose scheduler reads it once, when it starts
                boot = lanes.submit(self._airflow) if self.with_airflow else None
                self._warehouse()
                self._models()
                if self.with_airflow:
                    self._warm_up()
                if boot is not None:
                    boot.result()
                    self._collectors()
            except BaseException:
                self.supervisor.give_up.set()  # the other lane need not wait for what it waits for
                raise
        if self.with_airflow:
            self._first_minute()
        return Up(self.settings, self.secrets, self.steps.seconds, found_running=names <= running)

    def _supervise(self) -> set[str]:
        """Clear what a killed stack left, choose ports, start the supervisor. Returns the names of what runs."""
        with self.steps.step("supervisor") as line:
            running: set[str] = set()
            if self.supervisor.answers():
                running = {name for name, process in self.supervisor.processes().items() if process.running}
            else:
                line.say(leftovers.clear(self.layout))
            self.settings, notes = arrange(self.settings, self.secrets, running=running, airflow=self.with_airflow)
            self.supervisor.settings = self.settings
            write_stack_env(self.settings)
            airflow.write_configuration(self.settings, self.secrets)
            listed = programs(self.settings, airflow=True)
            if not self.supervisor.answers():
                self.supervisor.start(listed)
            elif not {program.name for program in listed} <= running:
                stale = self.supervisor.update(listed)
                notes += [f"{name} runs with older settings; `quantstream down` and `up` apply them" for name in stale]
        for note in notes:
            self.steps.note(note)
        return running

    def _database(self) -> None:
        if self.settings.postgres == "external":
            return
        with self.steps.step("database") as line:
            started = services.start_database(self.settings, self.secrets, self.supervisor)
            line.say(f"Postgres on port {self.settings.postgres_port}{'' if started else ', ran already'}")

    def _aws(self) -> Settings:
        name = "local AWS" if self.settings.aws == "local" else "AWS"
        with self.steps.step(name) as line:
            settings, said = services.start_aws(self.settings, self.supervisor)
            line.say(said)
        return settings

    def _airflow(self) -> None:
        with self.steps.step("Airflow's database") as line:
            line.say("migrated" if airflow.migrate(self.settings) else "is up to date")
        with self.steps.step("Airflow") as line:
            started = services.start_airflow(self.settings, self.supervisor)
            services.wait_for_airflow(self.settings, self.secrets, self.supervisor)
            line.say(
                f"port {self.settings.airflow_port}, {'started ' + ', '.join(started) if started else 'ran already'}"
            )

    def _warehouse(self) -> None:
        with self.steps.step("warehouse") as line:
            from include.pipeline.detect import check_rules as check_symbols
            from include.warehouse.migrate import migrate

            line.say(f"schema at revision {migrate(self.settings)}")
            check_symbols(self.settings)

    def _models(self) -> None:
        if models.up_to_date(self.settings):
            return
        with self.steps.step("models and their docs") as line:
            line.say(models.build(self.settings))

    def _warm_up(self) -> None:
        if wanted(self.settings):
            with self.steps.step("warm-up") as line:
                until = datetime.now(UTC).replace(second=0, microsecond=0)
                line.say(bring_in(self.settings, until))
                self.warm_until = until

    def _collectors(self) -> None:
        started = services.start_collectors(self.settings, self.supervisor)
        if self.settings.collect:
            with self.steps.step("collectors") as line:
                line.say(f"started {', '.join(started)}" if started else "ran already")

    def _first_minute(self) -> None:
        paused = unpause(self.settings, self.secrets, airflow.DAGS)
        if not paused:
            with self.steps.step("first full minute") as line:
                line.say(wait_for_first_minute(self.settings, self.secrets, self.supervisor))
            if self.warm_until is not None:
                close_gap(self.settings, self.warm_until)
            if warning := cadence_warning(self.settings):
                self.steps.note(warning)
        # Only now: the first run of what is daily is due at once, and the first minute need not wait for it.
        paused += unpause(self.settings, self.secrets, airflow.HISTORY_DAGS)
        if paused:
            self.steps.note(f"paused by you, so left alone: {', '.join(paused)}")
