"""DeepReg: registration of medical images in 3D Slicer.

The module is thin: what it does lies in the library DeepRegLib, which is imported when the panel is opened or a
registration is asked for, so that Slicer's start does not wait for it. PyTorch is never imported here: it runs in a
process of its own.
"""

import importlib.util
import sys
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("DeepRegLib") is None:
    # Installed, the library lies beside this file; in a source checkout one folder up, where Slicer does not look.
    sys.path.append(str(Path(__file__).resolve().parent.parent))


class DeepReg(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "DeepReg"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["The SlicerDeepReg contributors"]
        parent.helpText = _(
            "Aligns a moving volume with a fixed one, from rigid to deformable, within one modality or across. Choose "
            "the two volumes and press Register: the transform, its inverse, the aligned volume and a verdict on how "
            "far to trust them come into the scene."
        )
        parent.acknowledgementText = _("DeepReg is free software under the Apache License 2.0.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """List the pairs to try the module with in the Sample Data module; downloads nothing."""
    from DeepRegLib.panel.sample_data import register_sample_data

    register_sample_data()


# Before Qt's models of the scene, which choose the neighbour of a chosen node that goes (theirs is -10).
BEFORE_SELECTORS = 10.0


class DeepRegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: connects `DeepReg.ui` with `DeepRegLib.panel` and follows the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameters = None
        self._guiTag = None
        self._entered = False

    def setup(self):
        """Build the panel; called when it is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        from DeepRegLib.panel.panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/DeepReg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = DeepRegLogic()
        self.panel = Panel(
            self.ui,
            self.logic.runner,
            slicer.mrmlScene,
            qt.QSettings(),
            slicer.util.confirmYesNoDisplay,
            Path(self.resourcePath("Icons")),
        )
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.StartSaveEvent, self.onSceneStartSave)
        self.addObserver(scene, scene.EndSaveEvent, self.onSceneEndSave)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved, priority=BEFORE_SELECTORS)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.addObserver(scene, scene.EndBatchProcessEvent, self.onEndBatchProcess)
        self.panel.suspend()
        self.bindParameters(withScene=True)

    def enter(self):
        """Follow the scene again, and propose volumes."""
        self._entered = True
        self.bindParameters()
        self.panel.inputs.choose_volumes()
        self.panel.resume()

    def exit(self):
        """Leave parameters and views alone while another module is open."""
        self._entered = False
        self.panel.suspend()
        self.unbindParameters()

    def cleanup(self):
        """End panel and engine: the module is about to be unloaded."""
        self.unbindParameters()
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None  # Slicer may call this twice for a module that was reloaded
        if self.logic is not None:
            self.logic.close()

    def onReload(self):
        """Load the module anew, for developers, and the library behind it."""
        self.cleanup()
        for name in [name for name in sys.modules if name.partition(".")[0] == "DeepRegLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        """Stop what runs: its nodes are going."""
        self.panel.registration.cancel()
        self.unbindParameters()
        self.panel.bind(None)

    def onSceneEndClose(self, caller, event):
        """Begin with the empty scene."""
        self.bindParameters()

    def onSceneStartImport(self, caller, event):
        """Leave parameters and views to the scene that is being read."""
        self.panel.suspend()
        self.unbindParameters()

    def onSceneEndImport(self, caller, event):
        """Show what a loaded scene has saved, in views as the user had left them."""
        from DeepRegLib.scene.transforms import restore_interpolation
        from DeepRegLib.scene.views import put_back_all

        restore_interpolation(slicer.mrmlScene)
        put_back_all(slicer.mrmlScene)
        self.unbindParameters()
        self.bindParameters(withScene=True)
        if self._entered:
            self.panel.resume()

    def onSceneStartSave(self, caller, event):
        """Let the scene be saved with the user's own views."""
        self.panel.suspend()

    def onSceneEndSave(self, caller, event):
        """Show again what was shown."""
        if self._entered:
            self.panel.resume()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        """Propose a volume that was loaded, and list markups, models and atlases, as soon as they are complete."""
        if self._parameters is None:
            return
        if node.IsA("vtkMRMLVolumeNode"):
            self.panel.inputs.volume_added()
        elif node.IsA("vtkMRMLMarkupsNode") or node.IsA("vtkMRMLModelNode"):
            self.panel.along.node_added()
        if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLSegmentationNode"):
            self.panel.segment.node_added()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        """Choose nothing in place of a node that goes."""
        if not slicer.mrmlScene.IsClosing() and not node.IsA("vtkMRMLDisplayNode"):
            self.panel.let_go(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        """Show at once that a chosen node is gone."""
        if self._parameters is not None and not slicer.mrmlScene.IsClosing() and not node.IsA("vtkMRMLDisplayNode"):
            self.panel.refresh()

    def onParametersModified(self, caller=None, event=None):
        """Show what the parameters say."""
        self.panel.refresh()

    def onEndBatchProcess(self, caller, event):
        """Show what has changed in one go."""
        if self._parameters is not None and not slicer.mrmlScene.IsClosing():
            self.panel.refresh()

    def bindParameters(self, withScene=False):
        """Connect the panel with the scene's parameter node, which may have come with a scene."""
        if self._parameters is not None or slicer.mrmlScene.IsClosing():
            return
        from DeepRegLib.panel.parameters import parameters_of

        self._parameters = parameters_of(self.logic.getParameterNode())
        self._guiTag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.panel.bind(self._parameters, with_scene=withScene)

    def unbindParameters(self):
        """Disconnect the panel from the parameter node; what runs goes on."""
        if self._parameters is None:
            return
        self._parameters.disconnectGui(self._guiTag)
        self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameters = self._guiTag = None


class DeepRegLogic(ScriptedLoadableModuleLogic):
    """Registration from scripts and other modules.

    Example::

        from DeepReg import DeepRegLogic

        results = DeepRegLogic().register(getNode("CT"), getNode("MR"), recipe="multimodal")
        getNode(results.transform)

    Parameters
    ----------
    engine
        Where it is computed (`DeepRegLib.panel.engine.Engine`); the one of the application if none is given.
    """

    def __init__(self, engine=None):
        ScriptedLoadableModuleLogic.__init__(self)
        self._engine = engine
        self._runner = None

    @property
    def runner(self):
        """What runs registrations (`DeepRegLib.panel.running.Runner`)."""
        if self._runner is None:
            from DeepRegLib.panel.engine import shared_engine
            from DeepRegLib.panel.running import Runner

            self._runner = Runner(self._engine or shared_engine(), slicer.mrmlScene)
        return self._runner

    def register(
        self,
        fixedNode,
        movingNode,
        recipe="auto",
        *,
        fixedMask=None,
        movingMask=None,
        slidingMask=None,
        rigidSegments=None,
        fixedLandmarks=None,
        movingLandmarks=None,
        initialTransform=None,
        movingSegmentation=None,
        fixedSegmentation=None,
        movingAlong=(),
        fixedAlong=(),
        labelsRole="judge",
        drivers=None,
        device=None,
        seed=0,
        model=None,
        outputs=None,
        existing=None,
        prefix="",
        alignMoving=False,
        onProgress=None,
        onFinished=None,
        onError=None,
        wait=True,
    ):
        """Register a moving to a fixed volume and put the results into the scene.

        Parameters
        ----------
        fixedNode, movingNode
            Scalar volumes, or sequences, of which the frame shown counts.
        recipe
            A shipped recipe's name, the path of a TOML file, or a `DeepRegLib.recipes.Recipe`.
        fixedMask, movingMask
            Segmentation (all its segments) or label map; for some segments `DeepRegLib.panel.task.Mask(node, ids)`.
        slidingMask
            In the same way, on the fixed volume: an organ that slides along what surrounds it.
        rigidSegments
            In the same way, on the fixed volume: bones or tools, a segment each, that move but do not bend.
        fixedLandmarks, movingLandmarks, initialTransform
            Where to start.
        movingSegmentation, fixedSegmentation
            Brought along, and what it is compared with.
        movingAlong, fixedAlong
            Markups and models of either volume, of which copies are made on the other one.
        labelsRole
            What both segmentations do: ``"judge"`` only, ``"pull"`` on the field, ``"mask"`` the scans, or drive
            ``"alone"``, without intensities.
        drivers
            What else drives it, as values instead of nodes (`DeepRegLib.request.Drivers`).
        device, seed, model
            As in `DeepRegLib.register`.
        outputs
            Which results are made (`DeepRegLib.scene.outputs.Outputs`).
        existing
            Node ids by output name ("transform", "warped", ...) that are overwritten: empty ones, or earlier results.
            One that holds anything else is refused, because what it holds would be lost.
        prefix
            First part of the names of new nodes.
        alignMoving
            Put the moving volume under the transform.
        onProgress
            Called with stage, fraction (0 to 1), similarity or None, seconds left or None.
        onFinished, onError
            Called at the end with the `DeepRegLib.panel.running.Run`, or the error.
        wait
            Return when it is over; Slicer's window stays alive meanwhile.

        Returns
        -------
        DeepRegLib.scene.outputs.Results or DeepRegLib.panel.running.Run
            The ids of the new nodes; without `wait` the run, which can be cancelled.

        Raises
        ------
        DeepRegLib.errors.DeepRegError
            If something is wrong with the inputs, or, with `wait`, if the registration fails.
        """
        from DeepRegLib.panel.running import Listener
        from DeepRegLib.panel.task import Mask, Task
        from DeepRegLib.request import Drivers
        from DeepRegLib.scene.outputs import Outputs

        def mask(choice):
            return choice if choice is None or isinstance(choice, Mask) else Mask(choice)

        task = Task(
            fixed=fixedNode,
            moving=movingNode,
            recipe=recipe,
            fixed_mask=mask(fixedMask),
            moving_mask=mask(movingMask),
            sliding_mask=mask(slidingMask),
            rigid_segments=mask(rigidSegments),
            fixed_landmarks=fixedLandmarks,
            moving_landmarks=movingLandmarks,
            initial_transform=initialTransform,
            moving_segmentation=movingSegmentation,
            fixed_segmentation=fixedSegmentation,
            moving_along=tuple(movingAlong),
            fixed_along=tuple(fixedAlong),
            labels_role=labelsRole,
            drivers=drivers or Drivers(),
            device=device,
            seed=seed,
            model=model,
            outputs=outputs or Outputs(),
            existing=dict(existing or {}),
            prefix=prefix,
            align_moving=alignMoving,
        )
        callbacks = {"progress": onProgress, "finished": onFinished, "failed": onError}
        run = self.runner.start(task, Listener(**{name: call for name, call in callbacks.items() if call is not None}))
        if not wait:
            return run
        self.runner.wait(run)
        if run.error is not None:
            raise run.error
        return run.results

    def removeResults(self):
        """Remove everything DeepReg has put into the scene."""
        from DeepRegLib.scene.results import remove_results

        remove_results(slicer.mrmlScene)

    def close(self):
        """End the engine's process; the next registration starts another."""
        if self._runner is not None:
            self._runner.engine.close()


class DeepRegTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: everything up to the engine always, and a registration where PyTorch is installed."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run all tests."""
        for test in (self.test_badInputIsExplained, self.test_registration):
            self.setUp()
            test()

    def addExamplePair(self):
        """Put two small volumes into the scene, the second one 6, -3 and 3 mm (LPS) away from the first."""
        from DeepRegLib.panel.self_test import example_pair
        from DeepRegLib.scene.volumes import add_volume

        return [add_volume(slicer.mrmlScene, image, image.name) for image in example_pair()]

    def test_badInputIsExplained(self):
        """The same volume twice is refused in words."""
        from DeepRegLib.errors import InputError

        fixed, _moving = self.addExamplePair()
        with self.assertRaisesRegex(InputError, "same volume"):
            DeepRegLogic().register(fixed, fixed)

    def test_registration(self):
        """A shifted volume is found where it is."""
        from DeepRegLib.panel.self_test import example_recipe
        from DeepRegLib.panel.torch_setup import torch_version

        if not torch_version():
            self.delayDisplay("PyTorch is not installed: the registration is not tested")
            return
        fixed, moving = self.addExamplePair()
        logic = DeepRegLogic()
        results = logic.register(fixed, moving, recipe=example_recipe())
        found = [0.0, 0.0, 0.0]
        transform = vtk.vtkGeneralTransform()
        slicer.mrmlScene.GetNodeByID(results.transform).GetTransformFromWorld(transform)
        transform.TransformPoint([-60.0, -60.0, 60.0], found)
        for value, expected in zip(found, (-66.0, -57.0, 63.0), strict=True):
            self.assertAlmostEqual(value, expected, delta=1.0)
        logic.removeResults()
        logic.close()
        self.delayDisplay("Test passed")
