"""Stand-in for `slicer.parameterNodeWrapper`: typed attributes kept in a parameter node, and bound to widgets.

Written from the documented behaviour. What is kept in the node is written as Slicer writes it, so that a scene saved
with one is read with the other. Parameter packs, dictionaries and colours are not supported; they raise.
"""

from Testing.desktop.parameters.annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)
from Testing.desktop.parameters.wrapper import (
    SlicerParameterNamePropertyName,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]
