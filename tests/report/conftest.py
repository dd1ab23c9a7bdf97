"""A small run directory with known numbers, and a way to change any of them; pages in a headless Chromium."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from probe.results.files import write_table, write_tensors

D, SIDE = 64, 8
DESK = {"width": 1200, "height": 900}
METHODS = (
    "attractors", "random_orthogonal", "random_mean", "matched_gaussian", "gaussian", "one_step", "dct",
    "weights_transform", "random_mean_oracle", "pca_oracle",
)  # fmt: skip
# Mean latent MSE at the first level; each level halves it. Image i adds noise[i], common to all methods, and a random
# basis its own number of Run.bases, whose mean is 0.
MEANS = dict(zip(METHODS, (0.43, 0.61, 0.5, 0.46, 0.65, 0.39, 0.41, 0.42, 0.3, 0.2), strict=True))


@dataclass
class Run:
    """What ``write`` puts into a run directory; a test changes a field before."""

    n_images: int = 20
    planned: int = 20
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    levels: tuple[int, ...] = (3, 6, 12)
    means: dict[str, float] = field(default_factory=lambda: dict(MEANS))
    absent: dict[str, str] = field(default_factory=dict)
    bases: tuple[float, ...] = (-0.01, 0.01)
    mean_image: float = 0.08
    spread: float = 0.05
    noise_per_method: float = 0.0
    source: str = "bundled:photographs"
    pictures: int | None = None
    outcome: list[int] = field(default_factory=lambda: [0] * 9 + [1, 2, 3])
    exponent: float = 0.02
    basin: list[int] = field(default_factory=lambda: [4, 3, 2, 1, 1])
    certificate: list[int] = field(default_factory=lambda: [1, 1, 1, 0, -1])
    five_percent: int = 3
    name: str = "photos"
    poison: float | None = None
    elsewhere: int = 0
    recall: float = 1.0
    undecided: int = 0
    gaussian_atoms: int = D
    vendi: dict[str, Any] | None = None
    clip: bool = False
    draws: tuple[float, ...] = ()
    """Errors without each block of starts, as shares of those with all; one step from noise has their square roots."""
    seed: int = 0

    def frame(self) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        noise = rng.uniform(-self.spread, self.spread, self.n_images)
        rows: list[dict[str, Any]] = []
        for method, mean in self.means.items():
            own = rng.uniform(-self.noise_per_method, self.noise_per_method, self.n_images)
            for basis, shift in enumerate(self.bases if method == "random_orthogonal" else (0.0,)):
                for k, atoms in enumerate(self.levels):
                    latent = (mean + shift + noise + own) / 2**k
                    rows += [
                        self.row(i, method, atoms, latent[i], latent[i] / 10) | {"basis": basis}
                        for i in range(self.n_images)
                    ]
        for method, atoms, latent, pixel in (
            ("autoencoder", D, 0.0, 0.006), ("zero_code", 0, 1.2, 0.09), ("mean_image", 0, 0.9, self.mean_image)
        ):  # fmt: skip
            rows += [self.row(i, method, atoms, latent, pixel) for i in range(self.n_images)]
        frame = pd.DataFrame(rows)
        if self.poison is not None:
            frame.loc[0, "latent_mse"] = self.poison
        return frame.sample(frac=1, random_state=1)  # no reader may lean on the order of rows

    def row(self, image: int, method: str, atoms: int, latent: float, pixel: float) -> dict[str, Any]:
        used = min(atoms, len(self.basin)) if method == "attractors" else atoms
        return {
            "image": image, "id": f"image-{image}", "method": method, "basis": 0, "atoms": atoms, "fraction": atoms / D,
            "atoms_used": used, "latent_mse": latent, "pixel_mse": pixel,
            "psnr": -10 * np.log10(max(abs(pixel), 1e-30)), "ssim": 1 - pixel,
        }  # fmt: skip

    def write(self, run: Path) -> Path:
        for folder in ("attractors", "reconstructions"):
            (run / folder).mkdir(parents=True)
        self._attractors(run)
        self._dictionary(run)
        self._reconstructions(run)
        if self.clip:
            self._semantics(run)
        if self.draws:
            self._subsets(run)
        config: dict[str, Any] = {
            "model": {"source": "embedded:cifar-attractors"},
            "seeds": {"count": len(self.outcome), "seed": self.seed},
            "solver": {"certificates": len(self.certificate) - self.certificate.count(-1) + self.undecided},
            "datasets": {self.name: {"source": self.source, "n": self.planned}},
        }
        if self.clip:
            config["clip"] = {"model": "local-dir:clip", "labels": ["cat", "dog", "eel"]}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "manifest.json").write_text(json.dumps(self.manifest()))
        return run

    def manifest(self) -> dict[str, Any]:
        model = {
            "source": "embedded:cifar-attractors", "class": "AutoencoderKL", "weights_sha256": "ab" * 32,
            "latent_shape": [4, 4, 4], "d": D, "scaling_factor": 0.18215, "image_range": [-1.0, 1.0],
            "latents": "raw", "clamp": False, "parameters": 234567,
        }  # fmt: skip
        data = {
            "sha256": "cd" * 32, "n_planned": self.planned, "n_used": self.n_images, "n_heldout": 20,
            "unreadable": self.unreadable, "notes": self.notes,
            "source": {"source": self.source, "split": "test", "config": None, "pictures": self.pictures},
        }  # fmt: skip
        return {
            "schema_version": 1, "command": "probe run configs/quickstart.yaml --out 'my runs/first'",
            "started": "2026-11-23T19:00:00+00:00", "finished": "2026-11-23T19:05:00+00:00",
            "stage_seconds": {"attractors": 12.5, "dictionary": 1.25, "reconstruct": 80.0},
            "git_revision": None, "versions": {"torch": "2.13.0", "numpy": "2.4.6"}, "device": "cpu",
            "dtype": "float32", "world_size": 1, "platform": "Linux", "model": model, "data": {self.name: data},
        }  # fmt: skip

    def _attractors(self, run: Path) -> None:
        outcome = np.array(self.outcome, np.uint8)
        n = len(outcome)
        order = np.random.default_rng(3).permutation(n)
        columns = {
            "index": np.arange(n),
            "end": np.zeros((n, 4, 4, 4), np.float32),
            "outcome": outcome,
            "steps": np.where(outcome == 2, 500, 20 + np.arange(n)).astype(np.int64),
            "evaluations": np.where(outcome == 2, 501, 22 + np.arange(n)).astype(np.int64),
            "residual": np.where(outcome == 3, np.inf, np.where(outcome == 0, 1e-6, 0.04)).astype(np.float32),
            "period": np.where(outcome == 1, 2, 0).astype(np.int64),
        }
        for shard, part in enumerate(np.array_split(order, 2)):
            save(run / "attractors" / f"shard-{shard}.safetensors", {key: col[part] for key, col in columns.items()})

    def _dictionary(self, run: Path) -> None:
        m = len(self.basin)
        certificate = np.array(self.certificate, np.int8)
        examined = certificate != -1
        examined[np.flatnonzero(~examined)[: self.undecided]] = True
        stated = {
            "atoms": m, "rule": "cosine > 0.99", "atoms_euclidean": m + 2, "rule_euclidean": "distance < 0.05 rms",
            "components": m, "index": "exact" if self.recall == 1 else "approximate", "recall": self.recall,
            "recall_sampled": 0 if self.recall == 1 else 400, "index_euclidean": "exact", "recall_euclidean": 1.0,
            "outcomes_used": ["converged", "cycle", "max_steps"], "starts_used": sum(self.basin),
            "certified": int((certificate == 1).sum()), "not_attractors": int((certificate == 0).sum()),
            "undecided": int((certificate == -1).sum()),
            "plain_checked": 4, "plain_same": 4 - self.elsewhere, "plain_elsewhere": self.elsewhere,
            "vendi": self.vendi,
        }  # fmt: skip
        tensors = {
            "atoms": np.eye(m, D, dtype=np.float32),
            "leader": np.arange(m),
            "basin": np.array(self.basin, np.int64),
            "outcome": np.zeros(m, np.uint8),
            "steps": np.arange(m) + 20,
            "residual": 1e-6 - 1e-10 * np.arange(m),
            "spectral_radius": np.where(examined, np.array([1.3, 0.9, 1.0])[certificate], np.nan),
            "certificate": certificate,
            "settled": np.minimum(np.array(self.basin), 2),
            "radius_error": np.where(examined, 0.01, np.nan),
            "spectral_norm": np.where(examined, 1.4, np.nan),
            "norm_error": np.where(examined, 0.02, np.nan),
            "products": np.where(examined, 60, 0),
            "predicted_steps": np.where(certificate == 1, 77.7, np.nan),
            "plain_steps": np.where(certificate == 1, 70, -1),
        }
        wandering = {
            "index": np.flatnonzero(np.array(self.outcome) == 2),
            "exponent": np.full(self.outcome.count(2), self.exponent),
            "error": np.full(self.outcome.count(2), 0.005),
            "spectral_radius": np.full(self.outcome.count(2), 1.3),
            "radius_error": np.full(self.outcome.count(2), 0.01),
        }
        save(run / "wandering.safetensors", wandering)
        save(run / "dictionary.safetensors", tensors, summary=stated)
        images = np.random.default_rng(4).integers(0, 256, (m, 3, SIDE, SIDE), dtype=np.uint8)
        save(run / "gallery.safetensors", {"images": images, "thumbnails": images})

    def _reconstructions(self, run: Path) -> None:
        facts = {
            "method_atoms": dict.fromkeys(self.means, D) | {"attractors": len(self.basin)}
            | ({"gaussian": self.gaussian_atoms} if "gaussian" in self.means else {}),
            "five_percent": self.five_percent, "dtype": "float64", "absent": self.absent,
            "levels": list(self.levels),
        }  # fmt: skip
        write_table(run / "reconstructions" / f"{self.name}.parquet", self.frame(), facts)
        images = np.random.default_rng(5).integers(0, 256, (4, 3, SIDE, SIDE), dtype=np.uint8)
        levels = np.stack([images + np.uint8(level) for level in range(len(self.levels))])
        pictures = dict.fromkeys(("original", "autoencoder"), images) | dict.fromkeys(METHODS, levels)
        save(run / "reconstructions" / f"{self.name}.safetensors", pictures)

    def _subsets(self, run: Path) -> None:
        """Dictionaries of 8 and of all starts; the smaller has 1.5 times the error."""
        frame, shares = self.frame(), np.array(self.draws)[:, None]
        frame = frame[(frame["atoms"] == self.five_percent) & (frame["basis"] == 0)].sort_values("image")
        tensors, n = {}, len(self.outcome)
        made = [method for method in ("attractors", "one_step", "gaussian") if method in self.means]
        for method in made:
            whole = frame.loc[frame["method"] == method, "latent_mse"].to_numpy()
            tensors[f"size/{method}"] = np.stack([1.5 * whole, whole])
            if method != "gaussian":
                tensors[f"left_out/{method}"] = whole * (shares if method == "attractors" else np.sqrt(shares))
        counts = {method: [8, n] for method in made}
        (run / "subsets").mkdir()
        file = run / "subsets" / f"{self.name}.safetensors"
        save(file, tensors, blocks=len(self.draws), starts=counts, atoms=counts)

    def _semantics(self, run: Path) -> None:
        """Labels by turns; the nearest image of atom i is number i, of which every pixel is i."""
        m = len(self.basin)
        similarity = np.linspace(0.2, 0.3, m, dtype=np.float32)
        tensors = {
            "label_similarity": similarity,
            "above_noise": similarity > 0.25,
            "nearest_similarity": similarity[::-1].copy(),
            "nearest_images": np.arange(m, dtype=np.uint8)[:, None, None, None]
            + np.zeros((m, 3, SIDE, SIDE), np.uint8),
        }
        three = {"end_points": 0.25, "noise": 0.25, "images": 0.26}
        summary = {
            "model": "local-dir:clip", "pretrained": None, "weights_sha256": "ef" * 32, "words_sha256": "01" * 32,
            "words": 3, "template": "a photo of a {}", "label_similarity": three, "above_noise": 0.5,
            "common_label": {name: {"label": "cat", "share": 0.4} for name in ("end_points", "noise")},
            "nearest_similarity": three, "vendi": three | {"n": 20},
            "unrelated": {self.name: {"mean": 0.7, "ci95": [0.65, 0.75]}},
        }  # fmt: skip
        told = {
            "labels": [("cat", "dog", "eel")[i % 3] for i in range(m)],
            "nearest": [f"{self.name}/image-{i}" for i in range(m)],
            "summary": summary,
        }
        save(run / "semantics.safetensors", tensors, **told)


def save(path: Path, arrays: dict[str, Any], **about: Any) -> None:
    """A safetensors file with its checksum."""
    write_tensors(path, {name: torch.from_numpy(one.copy()) for name, one in arrays.items()}, about)


@pytest.fixture(scope="session")
def run_class() -> type[Run]:
    """``Run``, for fixtures that write once for many tests."""
    return Run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(n_images=1)`` writes a run directory with that change and returns its path."""

    def make(**changes: Any) -> Path:
        return Run(**changes).write(tmp_path / "run")

    return make


@pytest.fixture
def open_page(chromium) -> Iterator[Callable]:
    """open_page(run, **context): the page, watched; at its end nothing may have been fetched or complained of."""
    contexts, requests, complaints = [], [], []

    def begin(run: Path, **context):
        context = {"viewport": DESK, **context}
        contexts.append(chromium.new_context(**context))
        page = contexts[-1].new_page()
        page.set_default_timeout(240_000)  # a busy machine took 30 s to load plotly
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((run / "report" / "report.html").as_uri())
        if page.locator("#plotly").count() and context.get("java_script_enabled", True):
            page.wait_for_function("window.Plotly")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert [url[:80] for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


@pytest.fixture(scope="module")
def no_panels() -> Iterator[None]:
    """Figures of round trips are small and empty, for tests of everything else: many panels take long to draw."""
    picture = io.BytesIO()
    Image.new("RGB", (40, 20)).save(picture, "png")
    empty = {"png": picture.getvalue(), "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="400"/>'}
    with pytest.MonkeyPatch.context() as patched:
        for module in ("probe.report.page.write", "probe.report.roundtrip.page"):
            patched.setattr(f"{module}.render", lambda figure, kind: empty[kind])
        patched.setattr("probe.report.roundtrip.drawings._panels", lambda *_, **__: Figure())
        patched.setattr("probe.report.roundtrip.films.strip", lambda *_: Figure())
        yield
