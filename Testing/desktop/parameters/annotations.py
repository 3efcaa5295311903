"""What can stand beside a parameter's type: `Annotated[float, WithinRange(0, 1), Default(0.5)]`."""

from __future__ import annotations

import abc
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Annotation = TypeVar("Annotation")


class Default:
    """The value a parameter starts with, or a function that gives it."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        """The value."""
        return self._value if self._generator is None else self._generator()


@dataclass
class Decimals:
    """How many decimals a widget shows."""

    value: int


@dataclass
class SingleStep:
    """How far one step of a widget goes."""

    value: float


class Validator(abc.ABC):
    """A rule that every value of a parameter must satisfy."""

    @abc.abstractmethod
    def validate(self, value: Any) -> None:
        """Raise ValueError for a value that breaks the rule."""


class NotNone(Validator):
    """There must be a value."""

    def validate(self, value: Any) -> None:
        """Raise ValueError for None."""
        if value is None:
            raise ValueError("the value must not be None")


@dataclass
class WithinRange(Validator):
    """The value lies between two others, which are allowed."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        """Raise ValueError for a value outside."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"the value must be between {self.minimum} and {self.maximum}, not {value}")


@dataclass
class Minimum(Validator):
    """The value is not less than another."""

    minimum: float

    def validate(self, value: float) -> None:
        """Raise ValueError for a lesser value."""
        if value < self.minimum:
            raise ValueError(f"the value must be at least {self.minimum}, not {value}")


@dataclass
class Maximum(Validator):
    """The value is not greater than another."""

    maximum: float

    def validate(self, value: float) -> None:
        """Raise ValueError for a greater value."""
        if value > self.maximum:
            raise ValueError(f"the value must be at most {self.maximum}, not {value}")


@dataclass
class Choice(Validator):
    """The value is one of some."""

    choices: Sequence[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for any other value."""
        if value not in self.choices:
            raise ValueError(f"the value must be one of {self.choices}, not {value!r}")


@dataclass
class Exclude(Validator):
    """The value is none of some."""

    excludedValues: Sequence[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for one of them."""
        if value in self.excludedValues:
            raise ValueError(f"the value must be none of {self.excludedValues}, not {value!r}")


def split(hint: Any) -> tuple[Any, list[Any]]:
    """Split `Annotated[type, ...]` into the type and what stands beside it."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, []
    plain, *beside = typing.get_args(hint)
    return plain, [made(annotation) for annotation in beside]


def made(annotation: Any) -> Any:
    """Return an annotation that was given as a class, such as NotNone, as an object."""
    return annotation() if isinstance(annotation, type) and issubclass(annotation, Validator) else annotation


def first(annotations: Sequence[Any], kind: type[Annotation]) -> Annotation | None:
    """Return the first annotation of a kind."""
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)


def bounds(annotations: Sequence[Any]) -> tuple[float | None, float | None]:
    """Return the least and the greatest value that the annotations allow, None where there is no limit."""
    within = first(annotations, WithinRange)
    if within is not None:
        return within.minimum, within.maximum
    least, greatest = first(annotations, Minimum), first(annotations, Maximum)
    return least and least.minimum, greatest and greatest.maximum
