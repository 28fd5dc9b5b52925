"""supervisord: one per state directory, talked to over a private unix socket."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from include.errors import NotRunningError
from include.settings import Settings
from include.stack.layout import Layout, write_private
from include.stack.programs import Program, environment

_ALREADY_STARTED, _NOT_RUNNING = 60, 70  # supervisor's fault codes


@dataclass(frozen=True, slots=True)
class Process:
    """What supervisord says about one program. `state` is supervisor's word: RUNNING, STOPPED, BACKOFF, FATAL, ..."""

    name: str
    state: str
    pid: int | None
    uptime_seconds: float
    detail: str
    started: float = 0.0  # of the last start, seconds since 1970

    @property
    def running(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Supervisor:
    """Start, ask and stop the supervisord of one home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout(settings.home)
        self.config = self.layout.run / "supervisord.conf"
        self.give_up = threading.Event()  # set when a part failed: those who wait for other parts stop waiting

    def answers(self) -> bool:
        """Whether it runs and takes calls."""
        try:
            self._call("getState")
        except NotRunningError:
            return False
        return True

    def pid(self) -> int:
        """Its process id. Raises NotRunningError."""
        return int(self._call("getPID"))

    def start(self, programs: Iterable[Program]) -> None:
        """Write the configuration and start the daemon; no program starts by itself. Raises NotRunningError."""
        write_private(self.config, render(self.layout, programs))
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.config)],
            env=environment(self.settings), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        end = time.monotonic() + 10
        while done.returncode == 0 and time.monotonic() < end:
            if self.answers():
                return
            time.sleep(0.05)
        raise NotRunningError(
            f"the process supervisor did not start (log: {self.layout.logs / 'supervisord.log'}):\n"
            f"{done.stdout}{done.stderr}".rstrip()
        )

    def update(self, programs: Iterable[Program]) -> list[str]:
        """Take over a changed configuration for programs that do not run. Returns the running ones that differ."""
        write_private(self.config, render(self.layout, programs))
        ((added, changed, removed),) = self._call("reloadConfig")
        running = {name for name, process in self.processes().items() if process.running}
        for name in [*changed, *removed]:
            if name not in running:
                self._call("removeProcessGroup", name)
        for name in [*added, *(name for name in changed if name not in running)]:
            self._call("addProcessGroup", name)
        return sorted(running & set(changed))

    def processes(self) -> dict[str, Process]:
        """All programs by name. Raises NotRunningError if supervisord does not answer."""
        return {
            info["name"]: Process(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] or None,
                uptime_seconds=max(0.0, float(info["now"] - info["start"])) if info["pid"] else 0.0,
                detail=info["spawnerr"] or info["description"],
                started=float(info["start"]),
            )
            for info in self._call("getAllProcessInfo")
        }

    def start_program(self, name: str) -> bool:
        """Start one program without waiting for it. False if it ran already."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _ALREADY_STARTED:
                return False
            raise NotRunningError(f"{name} did not start: {fault.faultString} (log: {self.log_file(name)})") from None
        return True

    def stop_programs(self, names: Iterable[str]) -> list[str]:
        """Stop these programs together and wait for all of them. Returns those that ran."""
        wanted = [name for name, process in self.processes().items() if name in set(names) and process.pid]
        for name in wanted:
            self._stop(name, wait=False)
        for name in wanted:
            self._stop(name, wait=True)
        return wanted

    def shutdown(self) -> None:
        """End supervisord and what still runs under it, and wait for its end."""
        import psutil

        daemon = psutil.Process(self.pid())
        self._call("shutdown")
        daemon.wait(180)

    def log_file(self, name: str) -> str:
        return str(self.layout.logs / f"{name}.log")

    def _stop(self, name: str, *, wait: bool) -> None:
        try:
            self._call("stopProcess", name, wait)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise
        while wait and self.processes()[name].pid:  # a second stop of a stopping program does not wait
            time.sleep(0.05)

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.layout.socket()}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise NotRunningError(
                f"the stack in {self.layout.home} does not run; `make up` starts it ({error})"
            ) from None
        finally:
            transport.close()


def render(layout: Layout, programs: Iterable[Program]) -> str:
    """supervisord's configuration. Programs are started by `up`, in its order, and restarted after a crash."""
    owner = ["user = root"] if os.geteuid() == 0 else []
    lines = [
        "; generated by `quantstream up`",
        "[unix_http_server]", f"file = {_text(layout.socket())}", "chmod = 0700",
        "[supervisord]", f"logfile = {_text(layout.logs / 'supervisord.log')}",
        "logfile_maxbytes = 5MB", "logfile_backups = 2",
        f"pidfile = {_text(layout.supervisor_pid)}", f"childlogdir = {_text(layout.logs)}", "umask = 022", *owner,
        "[rpcinterface:supervisor]", "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]  # fmt: skip
    for priority, program in enumerate(programs):
        values = ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items())
        lines += [
            "", f"[program:{program.name}]", f"command = {_text(shlex.join(program.command))}",
            f"directory = {_text(program.directory)}", f"environment = {values}", f"priority = {priority}",
            *([f"user = {program.user}"] if program.user else []),
            "autostart = false", "autorestart = true", "startretries = 20", f"startsecs = {program.start_seconds}",
            f"stopsignal = {program.stop_signal}", f"stopwaitsecs = {program.stop_seconds}", "killasgroup = true",
            f"stdout_logfile = {_text(_text(layout.logs / program.name))}.log", "redirect_stderr = true",
            "stdout_logfile_maxbytes = 10MB", "stdout_logfile_backups = 3",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """`%` doubled, because supervisord interpolates (the names of log files even twice)."""
    return str(value).replace("%", "%%")


def _quoted(value: str) -> str:
    quote = "'" if '"' in value else '"'
    return f"{quote}{_text(value)}{quote}"
