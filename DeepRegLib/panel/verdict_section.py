"""The card with the verdict: which scans it is about, how far the result can be trusted, why, and what was measured."""

from __future__ import annotations

from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify

from DeepRegLib.panel.appearance import COLOURS, EARLIER_COLOUR, FreshLinks, Icons, bar_style, secondary_colour
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.running import Run
from DeepRegLib.panel.words import (
    measures_html,
    measures_of,
    pair_text,
    place_of,
    places_html,
    places_of,
    reasons_html,
    title_html,
    verdict_title,
)
from DeepRegLib.result import CHECK, FAILED, OK, Registration
from DeepRegLib.scene.looking import look_at
from DeepRegLib.scene.nodes import is_of_session, mark_session
from DeepRegLib.scene.outputs import NODE_OF, Results

ICON_OF = {OK: "VerdictOk", CHECK: "VerdictCheck", FAILED: "VerdictFailed"}
EARLIER_ICON = "VerdictEarlier"


class VerdictSection:
    """What the latest result is worth, as long as it is there.

    A verdict belongs to two scans and a result. It is grey while other scans are chosen, gone with the result's
    transform, and told to be an old one where it came with a scene.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Where the results are.
    icons
        The panel's icons.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene, icons: Icons) -> None:
        self._ui = ui
        self._scene = scene
        self._icons = icons
        self._parameters: Parameters | None = None
        self._made_here = False
        self._fresh_links = FreshLinks(ui.verdictPlacesLabel)
        ui.verdictPlacesLabel.connect("linkActivated(QString)", self._on_place)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._made_here = False

    def keep(self, run: Run, registration: Registration, results: Results) -> None:
        """Write the verdict on a run that has ended into the parameters."""
        parameters = self._parameters
        if parameters is None:
            return
        scans = run.task.moving, run.task.fixed
        node = _main_node(self._scene, results)
        self._made_here = True
        if node is not None:
            mark_session(node)
        parameters.verdictOf, parameters.verdictHasNode = node, node is not None
        parameters.verdictMoving, parameters.verdictFixed = (_volume(scan) for scan in scans)
        parameters.verdictNames = [scan.GetName() if scan is not None else "" for scan in scans]
        parameters.verdictLevel = registration.verdict.level
        parameters.verdictReasons = [*registration.verdict.reasons, *registration.warnings, *run.notes]
        parameters.verdictMeasures = measures_of(registration)
        parameters.verdictPlaces = places_of(registration)

    def drop(self) -> None:
        """Forget the verdict: its result is gone."""
        parameters = self._parameters
        if parameters is not None:
            with NodeModify(parameters):  # the panel is shown once
                parameters.verdictOf = parameters.verdictFixed = parameters.verdictMoving = None
                parameters.verdictLevel = ""
                for name in ("Names", "Reasons", "Measures", "Places"):
                    setattr(parameters, f"verdict{name}", [])

    def refresh(self, *, hidden: bool) -> None:
        """Show the verdict, unless it is to be hidden or its result is gone."""
        parameters = self._parameters
        if parameters is None:
            return
        there = bool(parameters.verdictLevel) and (parameters.verdictOf is not None or not parameters.verdictHasNode)
        if there:
            self._show(parameters)
        self._ui.verdictCard.visible = there and not hidden

    def _show(self, parameters: Parameters) -> None:
        ui, level = self._ui, parameters.verdictLevel if _is_known(parameters) else CHECK
        current = _is_of_the_chosen(parameters)
        title = verdict_title(level)
        ui.verdictBar.setStyleSheet(bar_style(COLOURS[level] if current else EARLIER_COLOUR))
        ui.verdictIcon.setPixmap(self._icons.pixmap(ICON_OF[level] if current else EARLIER_ICON))
        ui.verdictLabel.text = title_html(title if current else _("Earlier result: {verdict}").format(verdict=title))
        ui.verdictPairLabel.text = pair_text(*_names(parameters))
        state = self._state(parameters, current)
        ui.verdictStateLabel.text = state
        ui.verdictStateLabel.visible = bool(state)
        reasons = reasons_html(parameters.verdictReasons)
        ui.verdictReasonsLabel.text = reasons
        ui.verdictReasonsLabel.visible = bool(reasons)
        ui.verdictMeasuresLabel.text = measures_html(parameters.verdictMeasures)
        places = places_html(parameters.verdictPlaces)
        ui.verdictPlacesLabel.text = places
        ui.verdictPlacesLabel.visible = bool(places)
        for label in (ui.verdictLabel, ui.verdictPairLabel, ui.verdictReasonsLabel, ui.verdictMeasuresLabel):
            label.setStyleSheet("" if current else f"color: {secondary_colour(ui.verdictCard)};")

    def _on_place(self, link: str) -> None:
        places = list(self._parameters.verdictPlaces) if self._parameters is not None else []
        if int(link) < len(places):
            look_at(self._scene, place_of(places[int(link)])[0])

    def _state(self, parameters: Parameters, current: bool) -> str:
        """Return what a reader must know of the verdict beside itself; empty if nothing."""
        parts = []
        if not _is_known(parameters):
            parts.append(_("The verdict saved with the scene cannot be read."))
        if not current:
            parts.append(_("Of other scans than those chosen above."))
        node = parameters.verdictOf
        if not (self._made_here if node is None else is_of_session(node)):
            parts.append(_("As saved with the scene."))
        return " ".join(parts)


def _main_node(scene: slicer.vtkMRMLScene, results: Results) -> slicer.vtkMRMLNode | None:
    """Return the node that stands for a result: its transform, or the next best thing."""
    ids = results.ids
    return next((scene.GetNodeByID(ids[name]) for name in NODE_OF if name in ids), None)


def _volume(scan: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLNode | None:
    """Return an input as long as it is in the scene."""
    return scan if scan is not None and scan.GetScene() is not None else None


def _is_known(parameters: Parameters) -> bool:
    """Return whether the verdict is one that can be given: a scene that someone else made may hold any text."""
    return parameters.verdictLevel in ICON_OF


def _is_of_the_chosen(parameters: Parameters) -> bool:
    chosen = parameters.fixedVolume, parameters.movingVolume
    return None not in chosen and chosen == (parameters.verdictFixed, parameters.verdictMoving)


def _names(parameters: Parameters) -> tuple[str, str]:
    """Return the names of the moving and the fixed scan: as they are called now, or were when they are gone."""
    nodes = parameters.verdictMoving, parameters.verdictFixed
    names = [*parameters.verdictNames, "", ""]
    moving, fixed = (node.GetName() if node is not None else name for node, name in zip(nodes, names, strict=False))
    return moving, fixed
