"""LPIPS against the `lpips` package, a published value, and what every distance between pictures has to do."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage.data import astronaut
from torch import Tensor

from probe.errors import UserError
from probe.metrics.feature_weights import Missing
from probe.metrics.perceptual import Lpips, load_lpips

from ..models.lpips import convert


@pytest.fixture(scope="module")
def lpips(alexnet: Path) -> Lpips:
    return loaded(alexnet)


def loaded(file: Path, kind: str = "alex") -> Lpips:
    found = load_lpips(kind, str(file))
    assert isinstance(found, Lpips)
    return found


def faces(side: int = 64) -> Tensor:
    """Four crops of a photograph, in [0, 1]."""
    picture = torch.from_numpy(astronaut()).permute(2, 0, 1) / 255
    return torch.stack([picture[:, y : y + side, x : x + side] for y, x in ((60, 190), (0, 0), (200, 100), (300, 300))])


def jpeg(images: Tensor, quality: int) -> Tensor:
    """The same after JPEG."""
    found = []
    for image in (images * 255).round().to(torch.uint8):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1) / 255)
    return torch.stack(found)


def blurred(images: Tensor, times: int) -> Tensor:
    for _ in range(times):
        images = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return images


def theirs(kind: str, ours: Lpips) -> torch.nn.Module:
    """The network of the `lpips` package, with its own heads and our features."""
    import lpips as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision with arguments that are deprecated
        network = package.LPIPS(net=kind, pnet_rand=True, verbose=False)
    network.net.load_state_dict(ours.network.net.state_dict())
    return network


def test_equal_images_have_no_distance(lpips: Lpips):
    assert lpips(faces(), faces()).tolist() == [0.0] * 4


def test_it_grows_with_noise_blur_and_compression(lpips: Lpips):
    x = faces()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    ladders = {
        "noise": [(x + sigma * noise).clamp(0, 1) for sigma in (0.01, 0.03, 0.1, 0.3)],
        "blur": [blurred(x, times) for times in (1, 2, 4, 8)],
        "JPEG": [jpeg(x, quality) for quality in (90, 60, 30, 10)],
    }
    for name, ladder in ladders.items():
        found = torch.stack([lpips(x, y) for y in ladder])
        assert (found[0] > 0).all(), name
        assert (found.diff(dim=0) > 0).all(), name  # for each picture


# Both norms of features have their own small constant: 1e-10 there, 1e-8 under the root here. Where a feature vector
# has norm 1e-2 or more, these change a unit vector by 5e-5 of its length at most, and LPIPS by less than 1e-5.
def test_it_is_that_of_the_lpips_package(lpips: Lpips):
    x, y = faces(), jpeg(faces(), 20)
    with torch.no_grad():
        expected = theirs("alex", lpips)(x, y, normalize=True).flatten().double()
    assert lpips(x, y) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("side", [31, 47])
def test_it_is_that_of_the_lpips_package_for_random_features(random_alexnet: Path, side: int):
    ours = loaded(random_alexnet)
    x, y = faces(side), jpeg(faces(side), 20)
    with torch.no_grad():
        expected = theirs("alex", ours)(x, y, normalize=True).flatten().double()
    assert ours(x, y) == pytest.approx(expected, abs=1e-5)


def test_a_published_value(lpips_archive: Path, tmp_path: Path):
    """VGG: what the example of torchmetrics' LearnedPerceptualImagePatchSimilarity printed while it stood on the
    `lpips` package. The network was built between the seed and the images."""
    import torchvision
    from torchmetrics.functional.image import lpips as module

    heads = convert("vgg", tmp_path / "vgg.safetensors")
    ours = loaded(tmp_path / "vgg.safetensors", "vgg")
    for k, head in enumerate(heads):
        assert torch.equal(ours.network.lins[k].model[-1].weight.flatten(), head)
    torch.manual_seed(123)
    torchvision.models.vgg16(weights=None, init_weights=False)
    for channels in (64, 128, 256, 512, 512):
        module.NetLinLayer(channels)
    x, y = torch.rand(10, 3, 100, 100), torch.rand(10, 3, 100, 100)
    assert ours(x, y).mean() == pytest.approx(0.3493, abs=6e-5)  # four digits are printed


def test_rows_do_not_depend_on_each_other(lpips: Lpips):
    x, y = faces(), blurred(faces(), 2)
    y[1] = torch.nan
    alone = torch.cat([lpips(x[i : i + 1], y[i : i + 1]) for i in range(4)])
    together = lpips(x, y)
    assert together.isnan().tolist() == [False, True, False, False]
    # Convolutions of another batch size may add in another order: float32, some 1e3 terms.
    assert together[[0, 2, 3]] == pytest.approx(alone[[0, 2, 3]], abs=1e-6)


def test_images_that_are_too_small(random_alexnet: Path):
    found = loaded(random_alexnet)(faces(30), faces(30))
    assert found.shape == (4,)
    assert found.isnan().all()


def test_the_hash_is_of_the_weights_not_of_the_file(random_alexnet: Path, tmp_path: Path):
    tensors = load_file(random_alexnet)
    torch.save({**tensors, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "alexnet.pth")
    one, other = loaded(random_alexnet), loaded(tmp_path / "alexnet.pth")
    assert one.sha256 == other.sha256
    torch.save({**tensors, "features.0.bias": tensors["features.0.bias"] + 1}, tmp_path / "other.pth")
    assert loaded(tmp_path / "other.pth").sha256 != one.sha256
    assert (other.protocol["weights"], other.protocol["network"]) == ("alexnet.pth", "AlexNet")


def test_weights_are_looked_for_in_the_cache_of_torch(
    random_alexnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nothing = load_lpips("alex")
    assert isinstance(nothing, Missing)
    assert "alexnet-owt-7be5be79.pth in" in nothing.reason
    assert "--set perceptual.lpips=FILE" in nothing.reason
    file = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    file.parent.mkdir(parents=True)
    torch.save(load_file(random_alexnet), file)  # not the file whose digest its name gives
    damaged = load_lpips("alex")
    assert isinstance(damaged, Missing)
    assert "is damaged" in damaged.reason


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_what_is_refused(random_alexnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": Evil()}, "evil.pth")
    torch.save([torch.zeros(1)], "list.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, "half.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "vgg.pth")
    torch.save({}, "alexnet-owt-7be5be79.pth")
    (tmp_path / "text.safetensors").write_text("text")
    for name, said in {
        "none.pth": "there is no such file",
        "evil.pth": "more than named tensors",
        "list.pth": "not a state dict",
        "half.pth": "features.0.bias is missing",
        "vgg.pth": r"has the shape \(64, 3, 3, 3\)",
        "text.safetensors": "or is damaged",
        "alexnet-owt-7be5be79.pth": "its SHA-256 begins with",
    }.items():
        with pytest.raises(UserError, match=said):
            load_lpips("alex", name)
    assert not (tmp_path / "evil").exists()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    nothing = load_lpips("alex")
    assert isinstance(nothing, Missing)
    assert "pip install 'latent-probe[perceptual]'" in nothing.reason


def test_nothing_optional_is_imported_before_it_is_needed():
    code = "import sys, probe.metrics.perceptual as p; p.load_lpips('alex')\n"
    code += "print(sorted({'torchvision', 'torch_fidelity', 'lpips', 'torchmetrics'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "TORCH_HOME": "/nowhere"}
    )
    assert done.stdout == "[]\n", done.stderr


def test_loading_leaves_the_random_numbers_alone(random_alexnet: Path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    loaded(random_alexnet)
    assert torch.equal(torch.rand(3), expected)
