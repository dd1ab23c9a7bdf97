"""Small repositories with the layouts of the public data sets that presets and configurations name.

Configurations, splits, columns, class names and file names are those of the hub, as far as public sources show them
(docs/guides/datasets.md says which). Rows are a few dozen, and the pictures are random.
"""

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .server import Hub

IMAGENET = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark", "tiger shark")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = ("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle")
EUROSAT = ("Annual Crop", "Forest", "Herbaceous Vegetation", "Highway", "Industrial Buildings", "Pasture")
FASHION = ("T - shirt / top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple(map(str, range(10)))
LAION_PART = "part-{:05d}-339dc23d-0869-4dc0-9390-b4036fcc80c2-c000.snappy.parquet"


@dataclass(frozen=True)
class Layout:
    """A data set of images on the hub.

    folder: where its parquet files lie, which is the configuration's name for the older sets.
    splits: the parquet files of each.
    columns: in their order: "image", "string", "bool", or the names of the classes.
    side: of its pictures; None for sides that differ.
    paths: whether cells hold file names beside the bytes.
    """

    columns: Mapping[str, str | tuple[str, ...]]
    splits: Mapping[str, tuple[str, ...]]
    folder: str = "data"
    config: str = "default"
    side: int | None = None
    grey: bool = False
    gated: bool = False
    paths: bool = False


def _one(*splits: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"{split}-00000-of-00001.parquet",) for split in splits}


LAYOUTS = {
    "ILSVRC/imagenet-1k": Layout(
        {"image": "image", "label": IMAGENET},
        _one("train", "test")
        | {"validation": ("validation-00000-of-00002.parquet", "validation-00001-of-00002.parquet")},
        gated=True,
        paths=True,
    ),
    "uoft-cs/cifar100": Layout(
        {"img": "image", "fine_label": CIFAR100, "coarse_label": ("aquatic_mammals", "fish", "flowers")},
        _one("train", "test"),
        folder="cifar100",
        config="cifar100",
        side=32,
    ),
    "blanchon/EuroSAT_RGB": Layout(
        {"image": "image", "label": EUROSAT, "filename": "string"}, _one("train", "test", "validation"), side=64
    ),
    "1aurent/PatchCamelyon": Layout(
        {"image": "image", "label": "bool"},
        {
            "train": ("train-00000-of-00001-4717c3cf92578c96.parquet",),
            "valid": ("valid-00000-of-00001-0e1a29e0620125c6.parquet",),
            "test": ("test-00000-of-00002-bb04e6313f58efa0.parquet", "test-00001-of-00002-3bfa172e8818685a.parquet"),
        },
        side=96,
    ),
    "dpdl-benchmark/Places365-Validation": Layout(
        {"image": "image", "label": DIGITS},  # the real ones are the numbers from 0 to 364
        {"train": tuple(f"train-{i:05d}-of-00005.parquet" for i in range(5))},
    ),
    "ylecun/mnist": Layout(
        {"image": "image", "label": DIGITS}, _one("train", "test"), folder="mnist", config="mnist", side=28, grey=True
    ),
    "zalando-datasets/fashion_mnist": Layout(
        {"image": "image", "label": FASHION},
        _one("train", "test"),
        folder="fashion_mnist",
        config="fashion_mnist",
        side=28,
        grey=True,
    ),
    "uoft-cs/cifar10": Layout(
        {"img": "image", "label": CIFAR10}, _one("train", "test"), folder="plain_text", config="plain_text", side=32
    ),
    "tanganke/sun397": Layout({"image": "image", "label": ("abbey", "airplane cabin")}, _one("train", "test")),
    "tanganke/dtd": Layout({"image": "image", "label": ("banded", "blotchy", "braided")}, _one("train", "test")),
}
LAION = "laion/relaion2B-en-research-safe"


def picture(seed: int, layout: Layout) -> bytes:
    """A smooth random PNG."""
    rng = np.random.default_rng(seed)
    size = (layout.side, layout.side) if layout.side else tuple(rng.integers(60, 120, 2).tolist())
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5) if layout.grey else (5, 5, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def write(name: str, folder: Path, rows: int = 40, seed: int = 0) -> Path:
    """A repository of ``rows`` rows a split, as ``push_to_hub`` of datasets lays it out.

    The same rows for the same arguments. Classes follow each other, as they do in many of the real sets.
    """
    import datasets
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    layout, splits = LAYOUTS[name], {}
    kinds: dict[str, Any] = {"image": datasets.Image(), "bool": datasets.Value("bool")}
    features = datasets.Features(
        {
            column: datasets.ClassLabel(names=list(what))
            if isinstance(what, tuple)
            else kinds.get(what, datasets.Value("string"))
            for column, what in layout.columns.items()
        }
    )
    (folder / layout.folder).mkdir(parents=True)
    for number, (split, files) in enumerate(layout.splits.items()):
        table = _table(layout, features, rows, seed + 1000 * number, hidden=split == "test" and layout.gated)
        size = 0
        for i, file in enumerate(files):
            size += table.shard(len(files), i, contiguous=True).to_parquet(folder / layout.folder / file, batch_size=8)
        splits[split] = datasets.SplitInfo(split, num_bytes=size, num_examples=rows)
    card = DatasetCardData()
    info = datasets.DatasetInfo(features=features, splits=datasets.SplitDict(splits), config_name=layout.config)
    DatasetInfosDict({layout.config: info}).to_dataset_card_data(card)
    patterns = [{"split": split, "path": f"{layout.folder}/{split}-*"} for split in splits]
    MetadataConfigs({layout.config: {"data_files": patterns, "default": True}}).to_dataset_card_data(card)
    (folder / "README.md").write_text(f"---\n{card.to_yaml()}\n---\n# {name}\n")
    return folder


def _table(layout: Layout, features: Any, rows: int, seed: int, hidden: bool) -> Any:
    import datasets

    columns: dict[str, list[Any]] = {}
    for column, what in layout.columns.items():
        if what == "image":
            paths = [f"ILSVRC2012_val_{i:08d}.JPEG" if layout.paths else None for i in range(rows)]
            columns[column] = [{"bytes": picture(seed + i, layout), "path": paths[i]} for i in range(rows)]
        elif isinstance(what, tuple):
            columns[column] = [-1 if hidden else i * len(what) // rows for i in range(rows)]
        else:
            columns[column] = [i >= rows // 2 if what == "bool" else f"{i}.jpg" for i in range(rows)]
    return datasets.Dataset.from_dict(columns, features=features)


def write_laion(folder: Path, addresses: list[str]) -> Path:
    """LAION's table of addresses in two files. It has no card; each file has a hidden checksum beside it."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    for part in range(2):
        url = addresses[part::2]
        table = {
            "url": url,
            "caption": [f"caption {i}" for i in range(len(url))],
            "similarity": [0.3] * len(url),
            "width": [64] * len(url),
            "height": [64] * len(url),
        }
        parquet.write_table(pyarrow.table(table), folder / LAION_PART.format(part))
        (folder / f".{LAION_PART.format(part)}.crc").write_bytes(b"crc\0")
    return folder


@contextmanager
def published(folder: Path) -> Iterator[Hub]:
    """A hub with all of these sets; the pictures of LAION want PROBE_ALLOW_PRIVATE_HOSTS=127.0.0.1."""
    with Hub() as hub, pictures_on_the_web(folder / "web", 60) as addresses:
        for name, layout in LAYOUTS.items():
            hub.add(name, write(name, folder / name), kind="dataset", gated=layout.gated)
        hub.add(LAION, write_laion(folder / "laion", addresses), kind="dataset", gated=True)
        yield hub


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def pictures_on_the_web(folder: Path, count: int) -> Iterator[list[str]]:
    """The addresses of ``count`` pictures on a server on loopback."""
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(picture(10_000 + i, Layout({}, {})))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield [f"http://127.0.0.1:{server.server_port}/{i}.png" for i in range(count)]
    server.shutdown()
    server.server_close()
    thread.join()
