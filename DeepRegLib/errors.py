"""The errors DeepReg raises on purpose: each says what is wrong, with what value, and what to do."""

from __future__ import annotations


class DeepRegError(Exception):
    """Base of every error DeepReg raises on purpose.

    Parameters
    ----------
    message
        What is wrong, with the value or the file concerned, as one sentence.
    hint
        What the user can do about it, as one sentence.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(DeepRegError):
    """A file, image, mask, transform or argument that cannot be used."""


class RecipeError(InputError):
    """A recipe that does not exist, or has a wrong key or value."""


class ModelError(InputError):
    """A network or a model bundle that does not exist, is damaged, has a wrong argument, or cannot be used here."""


class OutputError(DeepRegError):
    """A result that cannot be written: the folder is read-only, the disk is full."""


class TrainingError(DeepRegError):
    """A training run that cannot go on."""


class RegistrationError(DeepRegError):
    """A registration that ran and has no usable result."""


class MemoryShortageError(RegistrationError):
    """The device or the machine ran out of memory.

    Parameters
    ----------
    message, hint
        As in every `DeepRegError`.
    device
        The name of the device, ``"cpu"`` for the machine's own memory; "" if it is not known.
    """

    def __init__(self, message: str, hint: str = "", device: str = "") -> None:
        super().__init__(message, hint)
        self.device = device


class CancelledError(DeepRegError):
    """The caller asked the run to stop."""

    def __init__(self, message: str = "The registration was cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)
