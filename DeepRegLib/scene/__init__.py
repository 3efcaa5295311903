"""The only room that touches MRML: nodes become images, transforms and labels; results become nodes.

The scene is RAS, everything below is LPS. Every function is given its scene or nodes; no torch, no Qt.
"""
