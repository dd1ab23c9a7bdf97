"""Planes, the field on them, and Jacobian norms, on maps whose field is known."""

import math

import pytest
import torch

from probe.dynamics.field import field_at, jacobian_norm, principal_plane, whole_plane


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MATRIX = torch.tensor([[0.5, -2.0], [0.25, 0.1]], dtype=torch.float64)


def test_the_field_of_a_linear_map():
    z = drawn(7, 2)
    along, norm = field_at(lambda z: z @ MATRIX.T, z, whole_plane())
    assert torch.allclose(along, z @ (MATRIX - torch.eye(2)).T)
    assert torch.allclose(norm, along.norm(dim=1))


def test_a_principal_plane_is_found_with_its_share():
    """Points in a plane of 5 dimensions with variances 4 and 1, and noise of variance 0.25 across it."""
    axes = torch.linalg.qr(drawn(5, 5))[0]
    n = 20_000
    centre = drawn(5, seed=1)
    points = centre + drawn(n, 5, seed=2) * torch.tensor([2.0, 1.0, 0.5, 0.0, 0.0]).double() @ axes.T
    plane, share = principal_plane(points)
    # Directions and shares are estimated with relative errors of order sqrt(2 / n) = 0.01; five of them.
    assert share == pytest.approx(5 / 5.25, abs=0.05)
    assert torch.allclose((plane.axes @ axes[:, :2]).abs(), torch.eye(2).double(), atol=0.05)
    assert torch.allclose(plane.axes @ plane.axes.T, torch.eye(2).double())
    assert (plane.axes.gather(1, plane.axes.abs().argmax(1, keepdim=True)) > 0).all()
    assert torch.allclose(plane.origin, centre, atol=5 * 2 / math.sqrt(n))


def test_points_of_a_plane_and_back():
    plane, _ = principal_plane(drawn(10, 4))
    c = drawn(6, 2, seed=3)
    assert torch.allclose(plane.coordinates(plane.points(c)), c)
    z = drawn(6, 4, seed=4)
    # What is left is perpendicular to the plane.
    assert torch.allclose(
        (z - plane.points(plane.coordinates(z))) @ plane.axes.T, torch.zeros(6, 2).double(), atol=1e-12
    )


@pytest.mark.parametrize("points", [torch.ones(5, 3), torch.arange(4.0)[:, None] * torch.ones(3), torch.eye(3)[:2]])
def test_a_line_or_two_points_span_no_plane(points):
    with pytest.raises(ValueError, match="span no plane"):
        principal_plane(points)


def test_the_share_of_a_rotation_out_of_the_plane():
    """f turns the first axis into the third: the field at (a, 0, 0) is (-a, 0, a), half of its square in the plane."""
    plane = principal_plane(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 0.5, 0], [0, -0.5, 0]]))[0]
    along, norm = field_at(lambda z: torch.stack([-z[:, 2], z[:, 1], z[:, 0]], 1), torch.tensor([[3.0, 0, 0]]), plane)
    assert along[0].tolist() == pytest.approx([-3, 0])
    assert norm.item() == pytest.approx(3 * math.sqrt(2))


@pytest.mark.parametrize("d", [2, 8, 9])
def test_jacobian_norm_is_the_largest_singular_value(d):
    matrix = drawn(d, d, seed=d)
    expected = torch.linalg.svdvals(matrix)[0].item()
    found = jacobian_norm(lambda z: z @ matrix.T, drawn(3, d))
    exact = d <= 8
    assert found.tolist() == pytest.approx([expected] * 3, rel=1e-9 if exact else 0.02)


def test_jacobian_norm_of_a_nonlinear_map():
    z = drawn(5, 2)
    slopes = 2 / torch.cosh(2 * z) ** 2
    assert torch.allclose(jacobian_norm(lambda z: torch.tanh(2 * z), z), slopes.amax(1))


def test_where_the_map_is_flat_rounding_does_not_hide_its_norm():
    """At z = 5 the slope of tanh(2 z) is 1.6e-8, less than float32 can tell by differences."""
    z = torch.tensor([[0.1, 0.2], [5.0, 5.0]])
    assert torch.allclose(jacobian_norm(lambda z: torch.tanh(2 * z), z)[1], torch.zeros(()).double(), atol=1e-6)


def test_what_is_computed_together_does_not_matter():
    z = drawn(7, 9)
    whole, parts = (jacobian_norm(torch.sin, z, together) for together in (7, 2))
    assert torch.allclose(whole, parts)


def test_where_there_is_no_derivative():
    assert jacobian_norm(lambda z: 0.5 * z.detach(), drawn(2, 2)).isnan().all()
