"""The field on a grid with its fixed points and basins, on maps where all of it is known."""

import math

import pytest
import torch

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.errors import UserError
from probe.report.figures.field import field_figure
from probe.studies.field import record, vector_field

EDGE = 0.9575040
"""tanh(2 x) = x."""


def wells(z: torch.Tensor) -> torch.Tensor:
    """Four attractors at (+-EDGE, +-EDGE), by the signs; saddles on the axes."""
    return torch.tanh(2 * z)


def drawn_field(f, d, **more):
    settings = {
        "seeds": SeedConfig(count=16),
        "solver": SolverConfig(tolerance=1e-10),
        "dictionary": DictionaryConfig(),
        "points": 12,
    }
    return vector_field(f, (d,), **{**settings, **more})


def test_wells():
    field = drawn_field(wells, 2)  # 12 points: none on an axis
    assert (field.of, field.variance, field.in_plane) == ("latent space", 1.0, pytest.approx(1, abs=1e-12))
    assert field.sides[:, [0, -1]].tolist() == [[-8, 8], [-8, 8]]
    assert len(field.points) == 4
    assert field.certificates.attractor.tolist() == [1] * 4
    assert torch.allclose(field.points.abs(), torch.full((4, 2), EDGE), atol=1e-4)
    # Each grid point lies in the basin of the attractor of its quadrant.
    u, v = torch.meshgrid(*field.sides, indexing="xy")
    reached = field.points[field.basin].double()
    assert torch.equal(reached.sign(), torch.stack([u, v], 2).sign())
    z = torch.stack([u, v], 2)
    assert torch.allclose(field.along, torch.tanh(2 * z) - z, atol=1e-6)
    assert torch.allclose(field.norm, field.along.norm(dim=2), atol=1e-6)
    assert torch.allclose(field.spectral_norm, (2 / torch.cosh(2 * z) ** 2).amax(2), atol=1e-5)


def test_grid_points_that_reach_nothing():
    """A turn by 90 degrees: only the origin is fixed, all others go round for ever."""
    field = drawn_field(lambda z: torch.stack([-z[:, 1], z[:, 0]], 1), 2, points=5, extent=2.0)
    middle = torch.zeros(5, 5, dtype=torch.bool)
    middle[2, 2] = True
    assert torch.equal(field.basin >= 0, middle)
    assert field.certificates.attractor.tolist() != [1]  # radius 1: no attractor
    assert field.outcomes["grid"]["cycle"] == 24


def test_a_projection_says_what_it_leaves_out():
    """A field that points out of the plane of the data: data in the first two coordinates, f moves the third."""
    data = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1.0, 1e-3])
    centre = torch.tensor([0.0, 0.0, 5.0])
    field = drawn_field(lambda z: centre + 0.5 * (z - centre), 3, data=data, points=9)
    assert field.of == "data"
    assert field.variance == pytest.approx(1, abs=1e-4)
    assert len(field.points) == 1
    assert field.certificates.attractor.tolist() == [1]
    assert field.certificates.spectral_norm.tolist() == pytest.approx([0.5], rel=0.02)
    # At z in the plane the field is -z/2 along it and 5/2 across.
    at = field.plane.points(torch.stack(torch.meshgrid(*field.sides, indexing="xy"), 2))
    along = (at[..., :2] / 2).norm(dim=2)
    expected = (along / (along**2 + 2.5**2).sqrt()).mean()
    assert field.in_plane == pytest.approx(float(expected), abs=1e-3)
    content = record(field, [str(i % 3) for i in range(50)])
    assert content["plane"]["projection"]
    assert "PROJECTION of 3 dimensions" in field_figure(content, "title").get_suptitle()
    assert legend(content) >= {"0", "1", "2"}


def test_one_attractor_leaves_the_first_steps_to_span_the_plane():
    field = drawn_field(lambda z: 0.5 * z, 4, points=5)
    assert field.of == "first steps"
    assert len(field.points) == 1
    assert set(field.basin.flatten().tolist()) == {0}
    # The field at z is -z / 2, of which the plane holds what it holds of z.
    at = field.plane.points(torch.stack(torch.meshgrid(*field.sides, indexing="xy"), 2).view(-1, 2))
    share = ((at @ field.plane.axes.T).norm(dim=1) / at.norm(dim=1)).mean()
    assert field.in_plane == pytest.approx(float(share), abs=1e-5)


def test_a_map_that_diverges_everywhere():
    field = drawn_field(lambda z: 3 * z, 2, points=5)
    assert (field.basin == 0).sum() == 1  # the origin, a grid point, is fixed
    assert field.certificates.attractor.tolist() == [0]
    assert field.outcomes["starts"]["diverged"] == 16


def test_the_window_goes_where_the_end_points_are():
    field = drawn_field(lambda z: 0.5 * z + torch.tensor([10.0, 0.0]), 2, points=5)
    assert field.points.flatten().tolist() == pytest.approx([20, 0], abs=1e-3)
    assert field.sides[:, 2].tolist() == pytest.approx([20, 0], abs=1e-2)
    assert (field.sides[:, 4] - field.sides[:, 0]).tolist() == [16, 16]
    data = torch.tensor([[0.0, 0.0], [100.0, 20.0]]).repeat_interleave(100, 0)
    wide = drawn_field(lambda z: 0.5 * z, 2, points=5, data=data)
    # 1.3 times the 100 that data and end points span.
    assert (wide.sides[:, 4] - wide.sides[:, 0]).tolist() == pytest.approx([130, 130], rel=1e-3)
    # Rows go along the second axis, columns along the first.
    z = torch.stack(torch.meshgrid(*wide.sides, indexing="xy"), 2)
    assert torch.allclose(wide.along, -z / 2, atol=1e-3)


def test_record_has_no_number_that_json_lacks():
    content = record(drawn_field(lambda z: z.detach() * 0.5, 2, points=5))
    assert all(value is None for row in content["spectral_norm"] for value in row)
    assert content["fixed_points"][0]["certificate"] == "undecided"
    assert content["fixed_points"][0]["spectral_radius"] is None
    assert all(math.isfinite(value) for row in content["norm"] for value in row)
    assert content["data"] is None
    assert "spectral norm of J is unavailable in the window" in legend(content)


def legend(content):
    return {text.get_text() for text in field_figure(content, "title").legends[0].get_texts()}


def test_the_legend_says_where_the_spectral_norm_lies():
    assert "spectral norm of J = 1" in legend(record(drawn_field(wells, 2, extent=1.0)))
    assert "spectral norm of J < 1 in the window" in legend(record(drawn_field(lambda z: 0.5 * z, 2, points=5)))


def test_the_legend_counts_what_lies_outside_the_window():
    content = record(drawn_field(wells, 2, extent=1.5))
    assert "certified attractor (4)" in legend(content)
    content["sides"][0] = [x + 2 for x in content["sides"][0]]
    assert "certified attractor (4, 2 outside the window)" in legend(content)


def test_one_dimension_has_no_plane():
    with pytest.raises(UserError, match="1-dimensional latent space has no plane"):
        drawn_field(lambda z: z, 1)
