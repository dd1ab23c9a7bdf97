"""The theory measured on linear autoencoders, where every number has a closed form."""

import json

import numpy as np
import pytest
import torch

from probe.autoencoders import Autoencoder
from probe.dynamics import LatentMap
from probe.report.theory.sections import statements
from probe.report.theory.write import summary, write_theory
from probe.studies.theory.score import alignment
from probe.studies.theory.theory import Prototypes, Terms, _bound, nearest, segment_norms, theory

D, SIDE = 6, 4
PIXELS = 3 * SIDE * SIDE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def autoencoder(matrix: torch.Tensor) -> Autoencoder:
    """D(z) = B z with singular values 3, ..., 0.5, E = A B^+: so f(z) = A z with A the matrix."""
    left, _ = torch.linalg.qr(torch.randn(PIXELS, D, generator=generator(1)))
    sizes = torch.linspace(3, 0.5, D)
    return Autoencoder(
        source="linear",
        class_name="Linear",
        encoder=lambda x: x.flatten(1) @ ((left / sizes) @ matrix.T),
        decoder=lambda z: ((z * sizes) @ left.T).view(-1, 3, SIDE, SIDE),
        modules=(),
        image_range=(0.0, 1.0),
    )


def pictures(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, SIDE, SIDE), generator=generator(seed), dtype=torch.uint8)


def measured(matrix: torch.Tensor, certified: bool = True, names: tuple[str, ...] = ("one",)) -> dict:
    model = autoencoder(matrix)
    sets = {name: (pictures(20, 2 + i), pictures(20, 30 + i)) for i, name in enumerate(names)}
    kinds = {name: torch.randn(9, D, generator=generator(9 + i)) for i, name in enumerate(("attractors", "one_step"))}
    prototypes = Prototypes(**kinds, certified=certified, noise=torch.randn(9, D, generator=generator(5)))
    found = theory(model, LatentMap(model), prototypes, sets, points=4, probes=4, together=7)
    json.dumps(found, allow_nan=False)
    return found


def test_both_sides_of_the_proposition():
    matrix = torch.diag(torch.linspace(1, 0.2, D))
    model, found = autoencoder(matrix), measured(matrix)
    x = pictures(20, 2).float() / 255
    prototypes = torch.randn(9, D, generator=generator(9))
    z = model.encode(x)
    p = prototypes[torch.stack([(prototypes - one).norm(dim=1).argmin() for one in z])]
    wanted = {
        "left": (x - model.decode(z)).flatten(1).square().sum(1),
        "prototype": (x - model.decode(p)).flatten(1).square().sum(1),
        "distance": (z - p).square().sum(1),
    }
    one = found["bound"]["one"]
    for name, values in wanted.items():
        assert one[name]["mean"] == pytest.approx(float(values.mean()), rel=1e-5)
    assert found["decoder"]["lipschitz"] == pytest.approx(3, rel=1e-4)
    assert found["decoder"]["largest_secant"] <= 3
    assert one["coverage"]["mean"] == pytest.approx(9 * one["distance"]["mean"], rel=1e-3)
    assert (one["bounds"]["with_2"]["kept"], one["bounds"]["with_2"]["verdict"]) == (20, "holds")
    assert 0 < one["bounds"]["with_2"]["broken_at_most"] < 0.2
    assert one["controls"]["one_step"]["prototype"] != one["prototype"]


def test_the_lipschitz_constant_is_at_least_the_largest_secant():
    """A decoder that is steep in a thin layer only, where no Jacobian is computed: secants across it see it."""
    whole = autoencoder(torch.eye(D) / 2)
    steep = Autoencoder(**{**vars(whole), "decoder": lambda z: whole.decoder(z + 50 * torch.tanh(1e4 * (z - 0.37)))})
    points = torch.randn(9, D, generator=generator(9))
    sets = {"one": (pictures(20, 2), pictures(5, 3))}
    found = theory(steep, LatentMap(steep), Prototypes(points, True, points + 0.1, points - 0.1), sets, points=4)
    assert found["decoder"]["largest_secant"] > 10
    assert found["decoder"]["lipschitz"] >= found["decoder"]["largest_secant"]


def test_a_bound_that_is_broken_refutes_nothing():
    """Errors at right angles: (1 + 1)^2 <= 2 (1 + 1), and not 1 + 1."""
    ones = torch.ones(12, dtype=torch.float64)
    terms = Terms(left=4 * ones, prototype=ones, coverage=ones, secant=ones)
    found = _bound(dict.fromkeys(("attractors", "one_step", "noise"), terms), 1.0)
    assert (found["bounds"]["with_2"]["kept"], found["bounds"]["with_2"]["verdict"]) == (12, "holds")
    assert (found["bounds"]["without_2"]["kept"], found["bounds"]["without_2"]["verdict"]) == (0, "undecided")
    assert found["bounds"]["without_2"]["broken_at_most"] == 1
    assert found["prototypes"] == "undecided"  # no difference to itself
    assert _bound(dict.fromkeys(("attractors", "one_step", "noise"), terms), None)["bounds"] is None


def test_nearest_is_by_distance_and_segments_see_the_middle():
    z = torch.tensor([[1.0, 0.0]])
    assert torch.equal(nearest(z, torch.tensor([[5.0, 0.0], [1.0, 1.5]])), torch.tensor([[1.0, 1.5]]))
    # D(z) = tanh(9 z): flat at both ends of the segment from -1 to 1, with slope 9 in its middle.
    norms = segment_norms(lambda z: torch.tanh(9 * z), -torch.ones(1, 1), torch.ones(1, 1))
    assert norms[0].tolist() == pytest.approx([0, 9, 0], abs=1e-4)


def test_jacobians_of_a_linear_map_are_the_same_everywhere():
    field = measured(torch.diag(torch.linspace(0.9, 0.2, D)))["field"]
    assert [(one["where"], one["dataset"]) for one in field] == [
        *(("data", "one"), ("near", "one")), *(("far", None), ("noise", None), ("attractors", None))
    ]  # fmt: skip
    for one in field:
        assert one["norm"]["mean"] == pytest.approx(0.9, rel=1e-2)
        assert (one["contracts"], one["norm"]["below_1"]) == ("holds", 1)
        assert (one["gradient"], one["less_than_chance"]) == ("holds", "holds")
    turned = torch.randn(D, D, generator=generator(3))
    for one in measured(turned - turned.T)["field"]:
        assert one["antisymmetric"]["mean"] == pytest.approx(1, abs=1e-5)
        assert (one["gradient"], one["less_than_chance"]) == ("does not hold", "does not hold")
        assert one["contracts"] == "does not hold"


def test_a_field_that_is_a_score_is_found_to_be_one_and_others_are_not():
    """N(0, diag(s^2)): the score is -z / s^2, and f(z) = z - z / (9 s^2) moves along it, not to the mean."""
    s = torch.linspace(0.4, 3, 8)
    z, fitted = torch.randn(60, 8, generator=generator(0)) * s, torch.randn(600, 8, generator=generator(1)) * s
    along = alignment(lambda z: z - z / (9 * s.square()), z, fitted, seed=0)
    mixture = along["densities"][1]
    assert (mixture["name"], mixture["components"]) == ("mixture", 1)
    for at in mixture["at"]:
        assert at["cosine"]["mean"] > 0.98
        assert abs(at["shuffled"]["mean"]) < 0.1
        assert (at["aligned"], at["beyond_centre"]) == ("holds", "holds")
    away = alignment(lambda z: z + z / s.square(), z, fitted, seed=0)
    assert all(at["aligned"] == "does not hold" for one in away["densities"] for at in one["at"])
    # A pull to the mean is along the score, but not beyond that.
    pull = alignment(lambda z: 0.5 * z, z, fitted, seed=0)
    assert all(at["centre"]["mean"] > 0.97 for one in pull["densities"] for at in one["at"])
    assert all(at["beyond_centre"] == "does not hold" for one in pull["densities"] for at in one["at"])


def test_shuffling_is_the_mean_over_all_other_points():
    z, fitted = torch.randn(4, 3, generator=generator(0)), torch.randn(40, 3, generator=generator(1))
    f = torch.tanh
    one = alignment(f, z, fitted, seed=0)["densities"][0]["at"][0]
    from probe.studies.theory.score import KernelDensity, cosines

    every = cosines((f(z) - z).double().numpy(), KernelDensity.fit(fitted.double().numpy()).score(z.double().numpy()))
    others = [every[i, j] for i in range(4) for j in range(4) if i != j]
    assert one["shuffled"]["mean"] == pytest.approx(np.mean(others), abs=1e-6)
    assert one["cosine"]["mean"] == pytest.approx(every.diagonal().mean(), abs=1e-6)
    assert alignment(f, z, fitted[:3], seed=0) is None


def test_the_page_says_what_was_found(tmp_path):
    record = measured(torch.diag(torch.linspace(0.9, 0.2, D)), certified=False, names=("one", "<two>"))
    about = {
        "model": {"class": "Linear", "source": "linear", "d": D}, "images": {}, "settings": {},
        "command": "probe theory", "git_revision": None, "versions": {}, "platform": "here",
    }  # fmt: skip
    content = write_theory(tmp_path, {**about, **record})
    assert content == json.loads((tmp_path / "theory.json").read_text())
    page = statements(content)
    assert [len(part.table.rows) for part in page] == [2, 7, 12, 7]
    assert "NONE a certified attractor" in page[0].title
    assert "40 of 40 images satisfy it" in page[0].sentences[0]
    assert page[1].sentences == ["f contracts: holds for all 7."]
    assert "&lt;two>" in (tmp_path / "theory.md").read_text()
    html = (tmp_path / "theory.html").read_text()
    assert "<two>" not in html
    assert html.count("data:image/svg+xml") == 4
    assert len(list((tmp_path / "figures").iterdir())) == 8
    assert all(sentence in summary(content) for part in page for sentence in part.sentences)


def test_what_cannot_be_known_is_said_not_to_be(tmp_path):
    """A decoder that hides its derivative, and too few images for a density."""
    whole = autoencoder(torch.eye(D) / 2)
    model = Autoencoder(**{**vars(whole), "decoder": lambda z: whole.decoder(z.detach())})
    points = torch.randn(3, D, generator=generator(0))
    found = theory(
        model,
        LatentMap(model),
        Prototypes(points, True, points, points),
        {"one": (pictures(3, 0), pictures(2, 1))},
    )
    assert found["decoder"]["lipschitz"] is None
    assert found["bound"]["one"]["bounds"] is None
    assert found["score"]["one"] is None
    assert all(one["contracts"] == one["gradient"] == "undecided" for one in found["field"])
    assert all(one["norm"]["mean"] is None and one["norm"]["below_1"] is None for one in found["field"])
    keys = ("images", "settings", "command", "git_revision", "versions", "platform")
    content = write_theory(tmp_path, {"model": {"class": "L", "source": "l", "d": D}, **dict.fromkeys(keys), **found})
    text = summary(content)
    assert "L and the bound are unknown" in text
    assert "Too few images to estimate a density from: one." in text
