"""What a request asks for besides the transform: labels and layers carried over, the Jacobian."""

from __future__ import annotations

from dataclasses import replace

from DeepRegLib.monitoring import Monitor
from DeepRegLib.propagation import AnyRegistration, with_fractions, with_labels, with_layers
from DeepRegLib.request import Drivers, Extras
from DeepRegLib.transforms import jacobian_determinant


def with_driving_labels(registration: AnyRegistration, drivers: Drivers, monitor: Monitor) -> AnyRegistration:
    """Return the registration with the labels it was given carried over."""
    if drivers.moving_labels is None:
        return registration
    with monitor.stage("labels"):
        return with_labels(registration, drivers.moving_labels, drivers.fixed_labels, poll=monitor.poll)


def with_extras(registration: AnyRegistration, extras: Extras, monitor: Monitor) -> AnyRegistration:
    """Return the registration with the labels, layers and Jacobian that were asked for."""
    if extras.compared_moving_labels is not None:
        monitor.finishing("labels")
        fixed_labels = extras.compared_fixed_labels
        registration = with_labels(registration, extras.compared_moving_labels, fixed_labels, poll=monitor.poll)
    if extras.moving_layers:
        monitor.finishing("labels")
        registration = with_layers(registration, extras.moving_layers, poll=monitor.poll)
    if extras.moving_fractions:
        monitor.finishing("labels")
        registration = with_fractions(registration, extras.moving_fractions, poll=monitor.poll)
    if extras.jacobian:
        monitor.finishing("jacobian")
        grid = registration.fixed.geometry
        jacobian = jacobian_determinant(registration.transform, grid, poll=monitor.poll)
        registration = replace(registration, jacobian=jacobian)
    return registration
