"""Transforms one after another."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.errors import InputError
from DeepRegLib.transforms import (
    CompositeTransform,
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    linear_part,
    parts_of,
    read_transform,
    transform_from_sitk,
    transform_to_sitk,
    write_transform,
)
from Testing.synthetic import geometry_in, points_in, random_linear, smooth_field

GRID = geometry_in("oblique", (12, 11, 10), 4.0)
POINTS = points_in(GRID, 80, seed=4)
# Made once: hypothesis chooses among them.
FIELDS = [smooth_field(GRID, 4.0, seed) for seed in range(3)]
LINEARS = [random_linear(seed, 25, 10, 0.2, 0.1) for seed in range(3)]
LINEARS.append(LinearTransform.identity())
parts = st.sampled_from([*FIELDS, *LINEARS])
chains = st.lists(parts, min_size=1, max_size=5)


def one_after_another(chain: list[Transform], points: np.ndarray) -> np.ndarray:
    for transform in chain:
        points = transform.apply_to_points(points)
    return points


@settings(deadline=None, max_examples=40)
@given(chain=chains)
def test_compose_applies_the_first_first(chain: list[Transform]) -> None:
    np.testing.assert_allclose(compose(*chain).apply_to_points(POINTS), one_after_another(chain, POINTS), atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(a=chains, b=chains, c=chains)
def test_grouping_does_not_matter(a: list[Transform], b: list[Transform], c: list[Transform]) -> None:
    left = compose(compose(compose(*a), compose(*b)), compose(*c))
    right = compose(compose(*a), compose(compose(*b), compose(*c)))
    np.testing.assert_allclose(left.apply_to_points(POINTS), right.apply_to_points(POINTS), atol=1e-8)
    assert len(parts_of(left)) == len(parts_of(right))


@settings(deadline=None, max_examples=30)
@given(chain=chains, ending=st.sampled_from([".h5", ".tfm"]))
def test_a_chain_survives_itk_and_its_file(chain: list[Transform], ending: str) -> None:
    transform = compose(*chain)
    itk = transform_to_sitk(transform)
    ours = transform.apply_to_points(POINTS)
    theirs = np.array([itk.TransformPoint(tuple(p)) for p in POINTS])
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(transform_from_sitk(itk).apply_to_points(POINTS) - ours).max() < 1e-4
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ending}"
        write_transform(transform, path)
        back = read_transform(path)
    # Each field is rounded to less than 1e-4 mm in the file.
    fields = sum(isinstance(part, DisplacementField) for part in parts_of(transform))
    assert np.abs(back.apply_to_points(POINTS) - ours).max() < 1e-4 * max(fields, 1)
    assert [type(part) for part in parts_of(back)] == [type(part) for part in parts_of(transform)]


def test_neighbouring_linear_transforms_become_one_and_identities_go() -> None:
    a, b, field, identity = LINEARS[0], LINEARS[1], FIELDS[0], LinearTransform.identity()
    assert isinstance(compose(a, b), LinearTransform)
    assert [type(p) for p in parts_of(compose(a, b, field, identity, a))] == [
        LinearTransform,
        DisplacementField,
        LinearTransform,
    ]
    assert compose(identity, field, identity) is field
    np.testing.assert_array_equal(parts_of(compose(identity, identity))[0].matrix, np.eye(4))


def test_a_single_transform_stays_itself() -> None:
    for transform in (FIELDS[0], LINEARS[0]):
        assert parts_of(transform) == (transform,)
        assert compose(transform) is transform


def test_the_linear_part_is_the_product_in_order() -> None:
    chain = compose(LINEARS[0], FIELDS[0], LINEARS[1])
    np.testing.assert_allclose(linear_part(chain).matrix, LINEARS[1].matrix @ LINEARS[0].matrix)
    np.testing.assert_array_equal(linear_part(FIELDS[0]).matrix, np.eye(4))


def test_nothing_is_not_a_transform() -> None:
    with pytest.raises(InputError, match="without parts"):
        CompositeTransform(())
