"""The end of a worker in words: what ssh, a shell and Python write is turned into what to do."""

from __future__ import annotations

import pytest

from DeepRegLib.engine.failures import death
from DeepRegLib.engine.protocol import MissingLibraryError
from DeepRegLib.engine.transport import ssh_command

ENDS = {
    "no key": (255, ["doe@host: Permission denied (publickey,password)."], "refused the login", "ssh-copy-id"),
    "many keys": (255, ["Received disconnect: Too many authentication failures"], "refused the login", "ssh-copy-id"),
    "unknown host key": (255, ["No ED25519 host key is known.", "Host key verification failed."], "identity", "Log in"),
    "no such host": (
        255,
        ["ssh: Could not resolve hostname nowhere: Name or service not known"],
        "no computer",
        "name",
    ),
    "refused": (255, ["ssh: connect to host h port 22: Connection refused"], "cannot be reached", "switched on"),
    "timeout": (255, ["ssh: connect to host h port 22: Connection timed out"], "cannot be reached", "switched on"),
    "closed": (255, ["Connection to host closed by remote host."], "connection .* was lost", "Try again"),
    "silent": (255, [], "connection .* was lost", "Try again"),
    "no python": (127, ["bash: line 1: pyton3: command not found"], "no such Python", "path"),
    "no deepreg": (
        1,
        ["/usr/bin/python3: ... (ModuleNotFoundError: No module named 'DeepRegLib')"],
        "DeepReg is",
        "In",
    ),
    "old python": (1, ["DeepReg needs Python 3.10 or newer, /usr/bin/python3 is 3.6.8."], "needs Python 3.10", "again"),
    "killed": (-9, [], "SIGKILL", "memory"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_in_one_sentence_with_a_remedy(end: str) -> None:
    code, lines, message, hint = ENDS[end]
    error = death(code, False, lines)
    assert error.message.count("\n") == 0
    with pytest.raises(type(error), match=message):
        raise error
    assert hint in error.hint
    assert error.details == "\n".join(lines)
    if lines:
        assert lines[-1] in error.message or isinstance(error, MissingLibraryError)


def test_ssh_is_never_asked_to_prompt_and_a_host_is_never_an_option() -> None:
    command = ssh_command("doe@host", "~/my venv/bin/python")
    assert command[0] == "ssh"
    assert {"BatchMode=yes", "ConnectTimeout=10"} < set(command)
    assert command[-3:] == ["--", "doe@host", "~/'my venv/bin/python' -m DeepRegLib.engine.worker"]
