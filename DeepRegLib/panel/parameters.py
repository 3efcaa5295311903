"""What the panel remembers: saved with the scene, restored with it."""

# No `from __future__ import annotations`: the wrapper reads the annotations as types.

from collections.abc import Callable, Sequence
from typing import Annotated, Union

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.util import NodeModify

from DeepRegLib.errors import InputError
from DeepRegLib.panel.recipes import (
    RECIPES_MODEL,
    RECIPES_TRANSLATION,
    adjusted,
    with_choice,
    with_passes,
    with_translation,
)
from DeepRegLib.panel.task import ALONE, JUDGE, Mask, Task
from DeepRegLib.recipes import AUTO, LABELS_ONLY, MODEL_MAPS, Recipe, load_recipe
from DeepRegLib.request import Drivers
from DeepRegLib.scene.outputs import Outputs

# For its selectors the wrapper makes a node of each class, which it cannot of vtkMRMLNode; and it knows no `A | B`.
Labels = Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007

# What the nodes of a result can be.
ResultNode = Union[  # noqa: UP007
    slicer.vtkMRMLTransformNode,
    slicer.vtkMRMLScalarVolumeNode,
    slicer.vtkMRMLSegmentationNode,
    slicer.vtkMRMLTableNode,
    None,
]

# What a correction by hand is drawn with.
Drags = Union[slicer.vtkMRMLMarkupsLineNode, slicer.vtkMRMLMarkupsFiducialNode, None]  # noqa: UP007


@parameterNodeWrapper
class Parameters:
    """The choices on the panel and the latest verdict.

    Parameters
    ----------
    fixedVolume, movingVolume, recipe
        What to register and how; the recipe is a shipped name or the path of a TOML file.
    model
        Name of the model, or the folder of its bundle; empty for what the recipe says, ``NO_MODEL`` for none.
    translation
        Which scan is compared as a model shows it in the other's modality: ``"moving NAME"`` or ``"fixed NAME"``; empty
        for what the recipe says.
    fixedMask, movingMask, fixedMaskSegments, movingMaskSegments
        Segmentation or label map that limits where the scans are compared; of a segmentation the segments with these
        ids, all if there are none.
    slidingMask, slidingMaskSegments
        Of the fixed scan, in the same way: an organ that slides along what surrounds it.
    rigidMask, rigidMaskSegments
        Of the fixed scan too: bones or tools, a segment or a label each, that move but do not bend.
    fixedLandmarks, movingLandmarks, initialTransform
        Where the registration starts.
    movingSegmentation, fixedSegmentation, labelsRole
        What to bring along, what to compare it with, and what both do for the registration
        (`DeepRegLib.panel.task.LABEL_ROLES`).
    movingAlong, fixedAlong
        Markups and models of either volume that are copied to the other one.
    wantTransform, wantInverse, wantWarped, wantSegmentation, wantJacobian, wantUncertainty, wantExplanation, wantTrust,
    wantTable
        Which results are put into the scene.
    transformOutput, inverseOutput, warpedOutput, segmentationOutput
        Nodes that are overwritten; new ones are made where there is none.
    namePrefix
        First part of the names of new nodes; empty for the moving volume's name.
    background
        Value of the aligned volume where the moving one was not scanned, as text; empty for one that suits it.
    alignMoving
        Put the moving volume under the transform.
    device, resolution, smoothness, seed, modelPasses
        Where to compute (empty for the fastest device), factors on the recipe's working resolution and smoothing, the
        seed of the random numbers, and how often the model is asked, 0 for as often as the recipe says.
    compareMode, blend, linkedViews
        How the slice views show the result.
    linkedTransform
        What leads from one scan to the other for the linked cursors; the latest result's unless another is chosen.
    movingDose
        A dose of the moving volume that *Export DICOM* carries over.
    repairMarkups
        The line, or the pairs of points, that correct a result by hand.
    segmentScan
        What the tab *Segment* segments.
    seriesBrowser, seriesContours
        The frames that the tab *Series* registers, and the segmentation that is carried onto each.
    comparedFixed, comparedWarped
        The volumes of the latest result to look at.
    verdictOf, verdictHasNode, verdictFixed, verdictMoving, verdictNames
        What the latest verdict is about: a node of the result, its transform if it has one, and whether it has any node
        at all; the two scans, and their names, moving and fixed, as they were.
    verdictLevel, verdictReasons, verdictMeasures, verdictPlaces
        How far to trust that result, why, what was measured, and where to look first (`measures_of` and `place_text` in
        `DeepRegLib.panel.words`).
    """

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    recipe: str = AUTO
    model: str = RECIPES_MODEL
    translation: str = RECIPES_TRANSLATION

    fixedMask: Labels
    fixedMaskSegments: list[str]
    movingMask: Labels
    movingMaskSegments: list[str]
    slidingMask: Labels
    slidingMaskSegments: list[str]
    rigidMask: Labels
    rigidMaskSegments: list[str]
    fixedLandmarks: slicer.vtkMRMLMarkupsFiducialNode
    movingLandmarks: slicer.vtkMRMLMarkupsFiducialNode
    initialTransform: slicer.vtkMRMLTransformNode
    movingSegmentation: Labels
    fixedSegmentation: Labels
    movingAlong: list[slicer.vtkMRMLDisplayableNode]
    fixedAlong: list[slicer.vtkMRMLDisplayableNode]
    labelsRole: str = JUDGE

    wantTransform: bool = True
    wantInverse: bool = False
    wantWarped: bool = True
    wantSegmentation: bool = True
    wantJacobian: bool = False
    wantUncertainty: bool = False
    wantExplanation: bool = False
    wantTrust: bool = False
    wantTable: bool = True
    transformOutput: slicer.vtkMRMLTransformNode
    inverseOutput: slicer.vtkMRMLTransformNode
    warpedOutput: slicer.vtkMRMLScalarVolumeNode
    segmentationOutput: slicer.vtkMRMLSegmentationNode
    namePrefix: str = ""
    background: str = ""
    alignMoving: bool = False

    device: str = ""
    resolution: Annotated[float, WithinRange(0.5, 1.5)] = 1.0
    smoothness: Annotated[float, WithinRange(0.5, 3.0)] = 1.0
    seed: Annotated[int, WithinRange(0, 999_999)] = 0
    modelPasses: Annotated[int, WithinRange(0, 8)] = 0

    compareMode: str = "none"
    blend: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    linkedViews: bool = True
    linkedTransform: slicer.vtkMRMLTransformNode
    movingDose: slicer.vtkMRMLScalarVolumeNode
    repairMarkups: Drags

    segmentScan: slicer.vtkMRMLScalarVolumeNode
    seriesBrowser: slicer.vtkMRMLSequenceBrowserNode
    seriesContours: slicer.vtkMRMLSegmentationNode

    comparedFixed: slicer.vtkMRMLScalarVolumeNode
    comparedWarped: slicer.vtkMRMLScalarVolumeNode
    verdictOf: ResultNode
    verdictHasNode: bool = False
    verdictFixed: slicer.vtkMRMLScalarVolumeNode
    verdictMoving: slicer.vtkMRMLScalarVolumeNode
    verdictNames: list[str]
    verdictLevel: str = ""
    verdictReasons: list[str]
    verdictMeasures: list[str]
    verdictPlaces: list[str]


MOST_ITEMS = 10_000  # of a list in a scene
# Each pair changes places when fixed and moving are swapped.
PAIRS = (
    ("fixedVolume", "movingVolume"),
    ("fixedMask", "movingMask"),
    ("fixedMaskSegments", "movingMaskSegments"),
    ("fixedLandmarks", "movingLandmarks"),
    ("fixedSegmentation", "movingSegmentation"),
    ("fixedAlong", "movingAlong"),
)

ALONG = ("movingAlong", "fixedAlong")

# Output name -> parameters that say whether it is wanted and which node receives it.
OUTPUTS = {
    "transform": ("wantTransform", "transformOutput"),
    "inverse": ("wantInverse", "inverseOutput"),
    "warped": ("wantWarped", "warpedOutput"),
    "segmentation": ("wantSegmentation", "segmentationOutput"),
    "jacobian": ("wantJacobian", None),
    "uncertainty": ("wantUncertainty", None),
    "explanation": ("wantExplanation", None),
    "trust": ("wantTrust", None),
    "table": ("wantTable", None),
}


def parameters_of(node: slicer.vtkMRMLScriptedModuleNode) -> Parameters:
    """Return the parameters that a node holds; what of it cannot be read is forgotten, and has its default.

    A scene may be someone else's: a number that is none would raise whenever the panel looks at it.
    """
    aside = slicer.vtkMRMLScriptedModuleNode()
    tried = Parameters(aside)  # type: ignore[call-arg]  # the wrapper makes it so
    held = list(node.GetParameterNames())
    for name in tried.allParameters:  # type: ignore[attr-defined]  # the wrapper has it
        keys = [key for key in held if key == name or key.startswith(f"{name}.")]
        if not _can_be_read(tried, aside, name, {key: str(node.GetParameter(key)) for key in keys}):
            for key in keys:
                node.UnsetParameter(key)
    return Parameters(node)  # type: ignore[call-arg]


def _can_be_read(tried: Parameters, aside: slicer.vtkMRMLScriptedModuleNode, name: str, stored: dict[str, str]) -> bool:
    """Tell whether what is stored of a parameter is one, by reading it from a node aside."""
    length = stored.get(f"{name}.len", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MOST_ITEMS):
        return False
    for key, value in stored.items():
        aside.SetParameter(key, value)
    try:
        value = getattr(tried, name)
        setattr(tried, name, list(value) if f"{name}.len" in stored else value)  # which looks at its range too
    except Exception:  # noqa: BLE001  # Slicer's wrapper raises what its types do
        return False
    return True


def swap(parameters: Parameters) -> None:
    """Let fixed and moving change places, with everything that belongs to them."""
    with NodeModify(parameters):
        for fixed, moving in PAIRS:
            first, second = _held(parameters, fixed), _held(parameters, moving)
            setattr(parameters, fixed, second)
            setattr(parameters, moving, first)
        # These lie on the scan that was fixed.
        parameters.slidingMask, parameters.slidingMaskSegments = None, []
        parameters.rigidMask, parameters.rigidMaskSegments = None, []
        parameters.movingDose = None  # and this on the one that was moving


def let_go(parameters: Parameters, node: slicer.vtkMRMLNode) -> None:
    """Hold a node no longer that is about to be removed from the scene.

    Qt's selectors choose its neighbour when it goes, and what they choose becomes the parameter: nobody chose that.
    """
    names = parameters.allParameters  # type: ignore[attr-defined]  # the wrapper has it
    held = [name for name in names if getattr(parameters, name) is node]
    with NodeModify(parameters):
        for name in held:
            setattr(parameters, name, None)
        for name in ALONG:
            kept = nodes_along(getattr(parameters, name))
            if node in kept:
                setattr(parameters, name, [each for each in kept if each is not node])


def nodes_along(chosen: Sequence[slicer.vtkMRMLNode | None]) -> tuple[slicer.vtkMRMLNode, ...]:
    """Return the markups and models of a list that are in the scene."""
    return tuple(node for node in list(chosen) if node is not None and node.GetScene() is not None)


def _held(parameters: Parameters, name: str) -> object:
    """Return a parameter's value; of a list a copy, for the wrapper's own changes with the parameter."""
    value = getattr(parameters, name)
    return value if value is None or isinstance(value, slicer.vtkMRMLNode) else list(value)


def recipe_name(parameters: Parameters) -> str:
    """Return the name or path of the recipe that is run."""
    return LABELS_ONLY if parameters.labelsRole == ALONE else parameters.recipe


def recipe_of(parameters: Parameters, load: Callable[[str], Recipe] = load_recipe) -> Recipe:
    """Return the chosen recipe with the panel's changes; where segmentations do it alone, the one without intensities.

    Parameters
    ----------
    parameters
        Where it is chosen.
    load
        Reads a recipe by its name or path.

    Raises
    ------
    RecipeError
        If there is none, or a value leaves its allowed range.
    """
    recipe = adjusted(load(recipe_name(parameters)), parameters.resolution, parameters.smoothness)
    recipe = with_passes(with_choice(recipe, parameters.model), parameters.modelPasses)
    return with_translation(recipe, parameters.translation)


def task_of(parameters: Parameters, load: Callable[[str], Recipe] = load_recipe) -> Task:
    """Return what the panel is set to do; takes and raises what `recipe_of` does.

    Raises
    ------
    InputError
        If the value outside is not a number.
    """
    recipe = recipe_of(parameters, load)
    nodes = {name: getattr(parameters, node) for name, (_wanted, node) in OUTPUTS.items() if node is not None}
    return Task(
        fixed=parameters.fixedVolume,
        moving=parameters.movingVolume,
        recipe=recipe,
        fixed_mask=_mask(parameters.fixedMask, parameters.fixedMaskSegments),
        moving_mask=_mask(parameters.movingMask, parameters.movingMaskSegments),
        sliding_mask=_mask(parameters.slidingMask, parameters.slidingMaskSegments),
        rigid_segments=_mask(parameters.rigidMask, parameters.rigidMaskSegments),
        fixed_landmarks=parameters.fixedLandmarks,
        moving_landmarks=parameters.movingLandmarks,
        initial_transform=parameters.initialTransform,
        moving_segmentation=parameters.movingSegmentation,
        fixed_segmentation=parameters.fixedSegmentation,
        moving_along=nodes_along(parameters.movingAlong),
        fixed_along=nodes_along(parameters.fixedAlong),
        labels_role=parameters.labelsRole,
        drivers=Drivers(background=_number(parameters.background)),
        device=parameters.device or None,
        seed=parameters.seed,
        outputs=_wanted(parameters, recipe),
        existing={name: node.GetID() for name, node in nodes.items() if node is not None},
        prefix=parameters.namePrefix.strip(),
        align_moving=parameters.alignMoving,
    )


def _mask(node: slicer.vtkMRMLNode | None, segments: Sequence[str]) -> Mask | None:
    return None if node is None else Mask(node, tuple(segments))


def _number(text: str) -> float | None:
    """Return a number as a user writes it, with a decimal comma too; None for an empty text."""
    if not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError as error:
        raise InputError(
            _("The value outside, {text!r}, is not a number.").format(text=text),
            _("Enter a number under Outputs, or leave it empty."),
        ) from error


def _wanted(parameters: Parameters, recipe: Recipe) -> Outputs:
    wanted = {name: getattr(parameters, want) for name, (want, _node) in OUTPUTS.items()}
    wanted["transform"] |= parameters.alignMoving  # the volume is put under it
    for name in MODEL_MAPS:
        wanted[name] &= bool(recipe.model.name)  # without a model the box is grey
    return Outputs(**wanted)
