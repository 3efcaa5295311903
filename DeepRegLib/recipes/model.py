"""The typed form of a recipe: what each key means, its unit and its allowed values."""

from __future__ import annotations

from dataclasses import dataclass, field

from DeepRegLib.errors import RecipeError

AUTO = "auto"
LABELS_ONLY = "labels-only"
# For one modality: intensities that are equal (ssd, ssim), or equal up to a gain and an offset, of the image (ncc) or
# of a window (lncc). For any two: how well one intensity tells the other (mi), which patches are alike (mind), which
# way edges run (ngf). For a fixed ultrasound: how much of it the brightness and the edges of the other explain (lc2).
SIMILARITIES = ("ssd", "ssim", "ncc", "lncc", "mi", "mind", "ngf", "lc2")
CROSS_MODAL_SIMILARITIES = ("mi", "mind", "ngf", "lc2")
# Mutual information of one pair of images grows with contrast, so a field would drift. In its place: mind, ngf, or ngf
# together with lncc after each image was given the contrast of the other (lncc+ngf).
LNCC_NGF = "lncc+ngf"
FORMER_LNCC_NGF = "matched"
# The features that a trained network gives each voxel.
FEATURES = "features"
DEFORMABLE_SIMILARITIES = ("ssd", "ssim", "ncc", "lncc", LNCC_NGF, "mind", "ngf", "lc2", FEATURES)
LARGE_MOTION_SIMILARITIES = ("mind", "lncc")
# What takes noise out without a model.
DENOISING_METHODS = ("median", "gaussian", "curvature")
DISPLACEMENT, VELOCITY = "displacement", "velocity"
PARAMETRISATIONS = (DISPLACEMENT, VELOCITY)
SIDES = ("moving", "fixed")
# What a model can deliver besides its field.
MODEL_MAPS = ("uncertainty", "explanation")
LINEAR_MODELS = ("none", "rigid", "similarity", "affine")


@dataclass(frozen=True)
class Prepare:
    """What happens to both images before they are compared.

    Parameters
    ----------
    clamp
        Intensity percentiles below and above which values are cut off. CT is clamped to its window instead.
    bias_correction
        Remove a slow intensity drift (N4) first.
    cone_beam
        One of the scans is a cone-beam CT. Its numbers are no Hounsfield units, so both are scaled by their percentiles
        as other scans are; outside of the cylinder that was reconstructed nothing was scanned, and all of it counts but
        the couch, which counts in neither scan.
    ultrasound
        The fixed scan is an ultrasound. Outside of its cone, where its voxels have one value throughout, nothing was
        scanned, and all of the cone counts.
    mask_margin
        By how many mm masks are grown: the edge of a bone that is masked as it was drawn lies on the mask's own edge.
    denoise
        Take noise out before anything is compared: ``"curvature"`` (edges stay), ``"median"``, ``"gaussian"``, or the
        name of a model of the task ``denoise`` or the folder of its bundle; "" for none. What is warped at the end is
        the scan as it was.
    labels_only
        Compare the label maps that are given for both scans, as signed distances, and no intensities.
    """

    clamp: tuple[float, float] = (0.1, 99.9)
    bias_correction: bool = False
    cone_beam: bool = False
    ultrasound: bool = False
    mask_margin: float = 0.0
    denoise: str = ""
    labels_only: bool = False

    def __post_init__(self) -> None:
        low, high = self.clamp
        _require(0 <= self.mask_margin <= 100, "prepare.mask_margin", self.mask_margin, "0 to 100 mm")
        _require(0 <= low < high <= 100, "prepare.clamp", self.clamp, "two percentiles, 0 <= low < high <= 100")


@dataclass(frozen=True)
class Translate:
    """A trained network that shows one scan as the other's modality would, so that both are compared as one modality.

    What it makes is synthetic: it drives the registration, and nothing else. Measures and verdict compare the scans as
    they were, and what is warped at the end is the scan.

    Parameters
    ----------
    model
        Name of a model of the task ``translate``, or the folder of its bundle; "" for none.
    side
        Which scan is translated: ``"moving"`` or ``"fixed"``.
    """

    model: str = ""
    side: str = "moving"

    def __post_init__(self) -> None:
        _require(self.side in SIDES, "translate.side", self.side, f"one of {', '.join(SIDES)}")


@dataclass(frozen=True)
class Search:
    """The exhaustive search for the starting pose.

    Parameters
    ----------
    enabled
        False starts from the scanner positions (or the initial transform).
    angle
        Distance between neighbouring trial rotations in degrees.
    candidates
        Poses handed on to the linear stage.
    """

    enabled: bool = True
    angle: float = 30.0
    candidates: int = 12

    def __post_init__(self) -> None:
        _require(10 <= self.angle <= 90, "search.angle", self.angle, "10 to 90 degrees")
        _require(1 <= self.candidates <= 64, "search.candidates", self.candidates, "1 to 64")


@dataclass(frozen=True)
class Linear:
    """The rigid to affine stage.

    Parameters
    ----------
    model
        ``"none"``, ``"rigid"``, ``"similarity"`` or ``"affine"``.
    similarity
        One of `SIMILARITIES`, or ``"auto"``.
    iterations
        Steps at each resolution; half as many at the finest, where there are coarser ones.
    voxels
        Voxels of the finest working grid.
    around
        By how many mm a start may be off that is known roughly, as a tracked scan's is: the best of many poses within
        that distance are refined besides. 0 refines what the search, the scanner or the user gives.
    """

    model: str = "affine"
    similarity: str = AUTO
    iterations: int = 60
    voxels: int = 500_000
    around: float = 0.0

    def __post_init__(self) -> None:
        _require(self.model in LINEAR_MODELS, "linear.model", self.model, f"one of {', '.join(LINEAR_MODELS)}")
        _require_similarity("linear.similarity", self.similarity, SIMILARITIES)
        _require(1 <= self.iterations <= 10_000, "linear.iterations", self.iterations, "1 to 10000")
        _require(1000 <= self.voxels <= 10**9, "linear.voxels", self.voxels, "1000 or more")
        _require(0 <= self.around <= 100, "linear.around", self.around, "0 to 100 mm")


@dataclass(frozen=True)
class Deformable:
    """The deformable stage, coarse to fine.

    Parameters
    ----------
    enabled
        False ends with the linear transform.
    parametrisation
        ``"displacement"``: the displacement is sought, and inverted numerically at the end. ``"velocity"``: a
        stationary velocity is sought; its flow is the displacement and its flow backwards the inverse. Each step takes
        longer, and for as smooth a result `smooth_field` must be about a fifth larger.
    similarity
        One of `DEFORMABLE_SIMILARITIES`, or ``"auto"``.
    features
        Where the similarity is ``"features"``, and only there: the name of the model that gives them, or the folder of
        its bundle.
    radius
        Window (lncc, lc2, ssim) or patch (mind) radius in working voxels; the others have none.
    voxels
        Voxels of the finest working grid, which spans the foreground; it never gets finer than the fixed image.
    shrink
        How many times coarser than the finest grid each level is.
    iterations
        Steps at each level.
    step
        Largest update a step, in voxels of the level.
    smooth_update
        Gaussian sigma on each update, in voxels of the level (fluid regularisation).
    smooth_field
        Gaussian sigma on the whole field after each step, in voxels of the level (elastic regularisation); mind and
        ngf get more than twice as much, lncc+ngf and features 1.4 times.
    ignore_unmatched
        Let places of the fixed image count less that are not found again in the moving one: a resection, a tumour that
        has grown.
    landmark_pull
        How hard given landmarks draw the field to their partners: 1 outweighs any edge once a landmark is a voxel off,
        0 leaves the field to the images.
    label_pull
        The same for the borders of the labels that are given for both images.
    """

    enabled: bool = True
    parametrisation: str = DISPLACEMENT
    similarity: str = AUTO
    features: str = ""
    radius: int = 2
    voxels: int = 5_000_000
    shrink: tuple[int, ...] = (8, 4, 2, 1)
    iterations: tuple[int, ...] = (100, 100, 30, 25)
    step: float = 0.5
    smooth_update: float = 1.4
    smooth_field: float = 0.42
    ignore_unmatched: bool = False
    landmark_pull: float = 1.0
    label_pull: float = 1.0

    def __post_init__(self) -> None:
        _require(
            self.parametrisation in PARAMETRISATIONS,
            "deformable.parametrisation",
            self.parametrisation,
            f"one of {', '.join(PARAMETRISATIONS)}",
        )
        _require_similarity("deformable.similarity", self.similarity, DEFORMABLE_SIMILARITIES)
        if self.similarity == FEATURES:
            _require(bool(self.features), "deformable.features", "", "the model whose features are compared")
        else:
            _require(not self.features, "deformable.features", self.features, f'"", or the similarity "{FEATURES}"')
        _require(1 <= self.radius <= 10, "deformable.radius", self.radius, "1 to 10 voxels")
        _require(1000 <= self.voxels <= 10**9, "deformable.voxels", self.voxels, "1000 or more")
        _require(
            len(self.shrink) > 0 and min(self.shrink) >= 1 and list(self.shrink) == sorted(self.shrink, reverse=True),
            "deformable.shrink",
            self.shrink,
            "whole numbers from coarse to fine, 1 or more",
        )
        _require(
            len(self.iterations) == len(self.shrink) and min(self.iterations) >= 0,
            "deformable.iterations",
            self.iterations,
            "one number a level of deformable.shrink",
        )
        _require(0 < self.step <= 1, "deformable.step", self.step, "above 0, at most 1 voxel")
        _require(0 <= self.smooth_update <= 10, "deformable.smooth_update", self.smooth_update, "0 to 10 voxels")
        _require(0 <= self.smooth_field <= 10, "deformable.smooth_field", self.smooth_field, "0 to 10 voxels")
        _require(0 <= self.landmark_pull <= 100, "deformable.landmark_pull", self.landmark_pull, "0 (off) to 100")
        _require(0 <= self.label_pull <= 100, "deformable.label_pull", self.label_pull, "0 (off) to 100")


@dataclass(frozen=True)
class Model:
    """A trained network that proposes a field, between the linear and the deformable stage.

    Parameters
    ----------
    name
        Of the model, or the folder of its bundle; "" for none.
    passes
        How often it is asked, each time what is still missing: more reach further, and follow the images more closely.
    consistent
        Ask it for both directions, which takes twice as long, and bring them nearer to being each other's inverse.
    if_needed
        Ask it only where what the search for large motion found is used, so that something has moved too far for the
        coarse levels of the deformable stage.
    uncertainty
        Also ask it again and again for images changed in what should not matter, and deliver how far its answers
        differ.
    explanation
        Also ask it again with the fixed image hidden place by place, and deliver how far its field moves there.
    """

    name: str = ""
    passes: int = 2
    consistent: bool = True
    if_needed: bool = False
    uncertainty: bool = False
    explanation: bool = False

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that are wanted besides the field."""
        return tuple(name for name in MODEL_MAPS if getattr(self, name))

    def __post_init__(self) -> None:
        _require(1 <= self.passes <= 8, "model.passes", self.passes, "1 to 8")


@dataclass(frozen=True)
class LargeMotion:
    """The exhaustive search for displacements, between the linear and the deformable stage.

    For organs that have moved further than they are wide: other people's bodies, a deep breath. It reaches
    ``shrink * radius`` working voxels along each axis at each level, each level on top of the one before. Nothing is
    searched for where the coarse levels of the deformable stage match well by LNCC and hardly strain.

    Parameters
    ----------
    enabled
        True starts the deformable stage from its result where that leads to a better match and not to a much rougher
        field.
    similarity
        What is compared: ``"mind"`` (any contrasts) or ``"lncc"`` (one modality).
    shrink
        How many working voxels of the deformable stage two neighbouring trial displacements lie apart, a level.
    radius
        How many displacements are tried to each side along each axis, a level.
    """

    enabled: bool = False
    similarity: str = "mind"
    shrink: tuple[int, ...] = (4, 2)
    radius: tuple[int, ...] = (4, 3)

    def __post_init__(self) -> None:
        _require(
            self.similarity in LARGE_MOTION_SIMILARITIES,
            "large_motion.similarity",
            self.similarity,
            f"one of {', '.join(LARGE_MOTION_SIMILARITIES)}",
        )
        _require(
            len(self.shrink) > 0 and min(self.shrink) >= 2 and list(self.shrink) == sorted(self.shrink, reverse=True),
            "large_motion.shrink",
            self.shrink,
            "whole numbers from coarse to fine, 2 or more",
        )
        _require(
            len(self.radius) == len(self.shrink) and min(self.radius) >= 1 and max(self.radius) <= 8,
            "large_motion.radius",
            self.radius,
            "one number from 1 to 8 a level of large_motion.shrink",
        )


@dataclass(frozen=True)
class Series:
    """What holds for a series in time alone; a registration of two scans does not look at it.

    Parameters
    ----------
    low_rank
        For frames whose contrast changes: how many principal components over time each frame's own reference is made
        of, besides the mean of all frames. 0 registers every frame to the reference itself.
    """

    low_rank: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.low_rank <= 20, "series.low_rank", self.low_rank, "0 (off) to 20 components")


@dataclass(frozen=True)
class Recipe:
    """Everything a registration run is told besides its images.

    Parameters
    ----------
    name
        Short name.
    purpose
        One line on what it is for.
    symmetric
        Register from either side, and take the way between the two that are found: swapping the scans then gives the
        inverse. It takes twice the time. The field is smoother, and where the two sides disagree it follows neither.
    prepare, translate, search, linear, large_motion, model, deformable
        The stages.
    series
        What holds for a series in time alone.
    """

    name: str
    purpose: str = ""
    symmetric: bool = False
    prepare: Prepare = field(default_factory=Prepare)
    translate: Translate = field(default_factory=Translate)
    search: Search = field(default_factory=Search)
    linear: Linear = field(default_factory=Linear)
    model: Model = field(default_factory=Model)
    large_motion: LargeMotion = field(default_factory=LargeMotion)
    deformable: Deformable = field(default_factory=Deformable)
    series: Series = field(default_factory=Series)

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()), "name", self.name, "a short name")
        # What a network says is a proposal only; without the stage that tries it, it would be the result.
        alone = bool(self.model.name) and not self.deformable.enabled
        _require(not alone, "model.name", self.model.name, "none where deformable.enabled is false")
        if self.prepare.labels_only:  # networks know scans
            for key, name in (("model.name", self.model.name), ("translate.model", self.translate.model)):
                _require(not name, key, name, "none where prepare.labels_only is true")
            similarity = self.deformable.similarity
            _require(
                similarity != FEATURES, "deformable.similarity", similarity, "another, as only labels are compared"
            )


def _require(condition: bool, key: str, value: object, wanted: str) -> None:
    if not condition:
        raise RecipeError(f"The recipe's {key} is {value!r}.", f"Give {wanted}.")


def _require_similarity(key: str, value: str, allowed: tuple[str, ...]) -> None:
    renamed = value == FORMER_LNCC_NGF and LNCC_NGF in allowed
    _require(not renamed, key, value, f"{LNCC_NGF!r}, as it is called now")
    _require(value == AUTO or value in allowed, key, value, f"one of {', '.join((AUTO, *allowed))}")
