"""The log of a run: JSON lines always, TensorBoard where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from DeepRegLib.training.journal import BOARD, LOG, Journal, read_log


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.mark.usefixtures("no_tensorboard")
def test_without_tensorboard_there_is_the_log_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    entry = journal.write(1, "train", {"loss": 0.123456789})
    journal.close()
    assert entry == {"iteration": 1, "group": "train", "loss": 0.123457}
    assert read_log(tmp_path) == [entry]
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


@pytest.mark.usefixtures("no_tensorboard")
def test_what_lies_past_the_checkpoint_or_was_cut_off_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    kept = [journal.write(iteration, "train", {"loss": 1.0}) for iteration in (1, 2, 3, 4)][:2]
    with (tmp_path / LOG).open("a", encoding="utf-8") as stream:
        stream.write('{"iteration": 5}')
    assert read_log(tmp_path)[-1]["iteration"] == 4
    Journal(tmp_path, 2)
    assert read_log(tmp_path) == kept


def test_tensorboard_gets_the_same(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    journal = Journal(tmp_path, 0)
    for iteration in (1, 2):
        journal.write(iteration, "train", {"loss": 0.5 / iteration})
    journal.close()
    events = EventAccumulator(str(tmp_path / BOARD))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]
