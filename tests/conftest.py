"""What all tests share: no network, the folder of real data, and a small autoencoder made on the spot."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import once

os.environ["HF_HUB_OFFLINE"] = "1"  # before any hub library is imported: no test may touch the network
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="probe-tests-")  # where code that was named is noted

once.keep()

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose processes wait come first, long ones before others: pytest-xdist gives files out in this order, and
    others fill the time."""
    seconds: dict[Path, float] = {}
    for item in items:
        for mark in item.iter_markers("busy"):
            seconds[item.path] = max(seconds.get(item.path, 1), *mark.args or (1,))
    items.sort(key=lambda item: -seconds.get(item.path, 0))


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Figures of the file's tests are built, but not drawn, see figures.py; those of fixtures of a session are."""
    from .figures import drawn

    with drawn(False):
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared: real images and a real autoencoder, which are not part of the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        reason = "../shared, with real data for development, is not beside this checkout"
        if os.environ.get("PROBE_REQUIRE_SHARED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """Debian's Chromium, without a window. It lives for one file: playwright keeps an event loop in its thread, where
    ``asyncio.run`` is then refused."""
    where = shutil.which("chromium") or shutil.which("chromium-browser")
    if where is None:
        reason = "Chromium is needed (Debian: chromium); see `make debian`"
        pytest.fail(reason) if os.environ.get("PROBE_REQUIRE_BROWSER") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def disk(tmp_path):
    """A small file system: (folder, mount it again with such options)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        reason = f"a small tmpfs cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("PROBE_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder, lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    for _ in range(50):  # processes of the test may be about to end
        if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)


@pytest.fixture(scope="session")
def lpips_archive() -> Path:
    """Real weights for LPIPS, which ``make install`` downloads; see tests/models/lpips.py."""
    from .models.lpips import ARCHIVE

    if not ARCHIVE.is_file():
        reason = f"{ARCHIVE}, with real weights for LPIPS, is not there; `make install` downloads it"
        if os.environ.get("PROBE_REQUIRE_LPIPS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return ARCHIVE


@pytest.fixture(scope="session")
def alexnet(lpips_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of AlexNet, trained on ImageNet, as a .safetensors file with torchvision's names."""
    from .models.lpips import convert

    file = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    convert("alex", file)
    return file


@pytest.fixture(scope="session")
def random_alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of an AlexNet with random weights, for LPIPS."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import alexnet

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors"
    save_file({name: value for name, value in alexnet().state_dict().items() if name.startswith("features.")}, file)
    return file


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FID's Inception with random weights that keep the size of activations, so that features differ between images."""
    import torch
    from torch_fidelity import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: None)
        network = FeatureExtractorInceptionV3("random", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="session")
def tiny_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers AutoencoderKL with random weights, 4x downsampling, as a folder."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "vae"
    model = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.5,
        shift_factor=0.25,
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP of open_clip's architecture on disk, with random weights."""
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    import torch
    from safetensors.torch import save_file

    side = 32
    folder = tmp_path_factory.mktemp("clip")
    settings = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": side, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
    about = {"model_cfg": settings, "preprocess_cfg": {"size": [side, side], "mode": "RGB", **preprocess}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.manual_seed(0)
    model = open_clip.CLIP(**settings)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder
