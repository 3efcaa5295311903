"""The task ``pairs``: a network that registers two images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from DeepRegLib.models import load_network, usable_bundle
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.judge import objection, own_judge, shown_images, verdict_loss
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.losses import endpoint_error, field_losses, seen_in_both
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.sources import PairSource
from DeepRegLib.training.synthesis import Pairs
from DeepRegLib.training.task import TRAINING
from DeepRegLib.training.validation import read_real_pairs, validate


class PairsTask:
    """Pairs made at random or from a user's scans; the folder that the configuration names is read at once.

    Raises
    ------
    InputError
        If the folder cannot be used, or lacks what a source needs.
    ModelError
        If the teacher cannot be used, or is not for registration.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self._config = config
        self._source = PairSource(config, processes.device)
        wanted = config.validation.folder and processes.is_first
        self._real = read_real_pairs(config.validation.folder, config.images, processes.device) if wanted else []
        teacher = config.network.teacher
        self._teacher = load_network(usable_bundle(teacher, "registration"), processes.device) if teacher else None

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of a batch's losses."""
        pairs, random = self._source.draw(TRAINING, step, numbers, size)
        weights = self._config.losses
        forward, backward = self._predict(learner, pairs)
        found = field_losses(pairs, forward, backward, random, weights)
        if self._teacher is not None:
            found["teacher"] = self._distance_from_teacher(self._teacher, pairs, forward)
        shown = None
        if isinstance(learner.judge, nn.Module) and pairs.field is not None:
            visible = seen_in_both(pairs.fixed_known, pairs.moving_known, pairs.field)
            shown = shown_images(pairs, forward, visible)
            found["adversarial"] = objection(own_judge(learner.judge), shown)
        learner.descend(found, weights)
        if shown is not None and learner.judge is not None and pairs.field is not None:
            aligned = shown_images(pairs, pairs.field, visible)
            judged = verdict_loss(learner.judge, aligned, shown).mean()
            (judged / self._config.optimisation.accumulate).backward()
            learner.add("judge", judged)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network on synthetic pairs and on those of the validation's folder."""
        count, images = self._config.validation.pairs, self._config.images
        if count == 0 and not self._real:
            return {}
        return validate(network, self._source, count, self._real, images)

    def _distance_from_teacher(self, teacher: nn.Module, pairs: Pairs, field: Tensor) -> Tensor:
        """Return the mean distance from what the teacher says, ``(B,)``, where both images are known."""
        with torch.no_grad():
            goal = teacher(pairs.fixed, pairs.moving).float()
        return endpoint_error(field, goal, seen_in_both(pairs.fixed_known, pairs.moving_known, goal))

    def _predict(self, learner: Learner, pairs: Pairs) -> tuple[Tensor, Tensor | None]:
        """Return the fields in one or both directions."""
        both = self._config.losses.inverse > 0
        fixed = torch.cat([pairs.fixed, pairs.moving]) if both else pairs.fixed
        moving = torch.cat([pairs.moving, pairs.fixed]) if both else pairs.moving
        with learner.precision():
            predicted = learner.network(fixed, moving)
        field = predicted.float()  # in float32: half precision cannot tell neighbouring voxels apart
        if not both:
            return field, None
        forward, backward = field.chunk(2)
        return forward, backward
