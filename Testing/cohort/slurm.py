"""A Slurm of one node on this machine, in a folder of its own, with its own key, ports and state."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo")
WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
START_SECONDS = 30.0
CONFIGURATION = """ClusterName=deepreg
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=3
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Return why no Slurm can be started here; "" if it can."""
    if sys.platform != "linux":
        return "Slurm runs on Linux"
    without = [program for program in PROGRAMS if shutil.which(program, path=WHERE) is None]
    if without:
        return f"{', '.join(without)} not installed (Debian's slurm-wlm and munge)"
    return "" if os.geteuid() == 0 else "slurmd needs to run as root"


@contextlib.contextmanager
def running_slurm(folder: Path, cores: int = 4) -> Iterator[dict[str, str]]:
    """Start the daemons, and give the variables with which commands find them; they and all jobs end with it.

    Raises
    ------
    RuntimeError
        If the node is not ready in time.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    # Munge asks that nobody else can write to where its key and socket lie; /tmp itself has the sticky bit.
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    ports = _free_ports(2)
    configuration = CONFIGURATION.format(
        host=socket.gethostname(),
        user="root",
        folder=folder,
        controller=ports[0],
        node=ports[1],
        cores=cores,
        memory=psutil.virtual_memory().total // (1 << 20),
    )
    (folder / "slurm.conf").write_text(configuration, encoding="ascii")
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": WHERE}
    environment = os.environ | variables
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
        + [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", socket.gethostname()],
    ]
    daemons = []
    with (folder / "printed.txt").open("ab") as printed:
        try:
            for command in commands:
                program = str(shutil.which(command[0], path=WHERE))
                daemons.append(
                    subprocess.Popen(
                        [program, *command[1:]], env=environment, stdout=printed, stderr=printed, start_new_session=True
                    )
                )
                _wait_for(folder, command[0], environment)
            yield variables
        finally:
            _end(daemons, environment)


def _wait_for(folder: Path, daemon: str, environment: dict[str, str]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if daemon == "munged" and (folder / "munge.socket").exists():
            return
        if daemon == "slurmctld" and "*" in _told("sinfo", "-h", "-o", "%P", variables=environment):
            return
        if daemon == "slurmd" and _told("sinfo", "-h", "-o", "%t", variables=environment).strip() == "idle":
            return
        time.sleep(0.2)
    texts = [path.read_text(errors="replace")[-1500:] for path in (*folder.glob("*.log"), folder / "printed.txt")]
    raise RuntimeError(f"{daemon} is not ready: {' '.join(texts)}")


def _end(daemons: list[subprocess.Popen[bytes]], environment: dict[str, str]) -> None:
    if len(daemons) == 3:
        for job in _told("squeue", "-h", "-o", "%A", variables=environment).split():
            _told("scancel", "--full", "--signal=KILL", job, variables=environment)
            _told("scancel", job, variables=environment)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for process in psutil.process_iter():  # what jobs started outlives the daemons, and is no child of theirs
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("SLURM_CONF") == environment["SLURM_CONF"]:
                process.kill()


def _told(program: str, *words: str, variables: dict[str, str]) -> str:
    found = shutil.which(program, path=WHERE)
    done = subprocess.run([str(found), *words], env=variables, capture_output=True, text=True, check=False)
    return done.stdout


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
