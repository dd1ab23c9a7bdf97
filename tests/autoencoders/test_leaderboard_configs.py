"""configs/leaderboard: one protocol, pinned revisions, and models of the stated d by their public config.json."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from probe.autoencoders import outline
from probe.autoencoders.compatibility import untrained
from probe.config import Config, load_config

FOLDER = Path(__file__).parents[2] / "configs" / "leaderboard"
FAMILIES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "families.yaml").read_text())


def stated(name: str) -> tuple[int, ...]:
    """The latent's shape in the file's first line: ``d = 4 x 16 x 16 = 1024``."""
    found = re.search(r"d = ([\dx ]+) = (\d+) at 128 px", (FOLDER / f"{name}.yaml").read_text())
    assert found, name
    shape = tuple(map(int, found[1].split(" x ")))
    assert math.prod(shape) == int(found[2])
    return shape


def config_of(name: str) -> Config:
    return load_config(FOLDER / f"{name}.yaml")


def test_every_file_has_a_family_and_every_family_a_file():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == {"protocol", *FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_all_files_share_the_protocol_and_pin_a_commit(name: str):
    text, protocol = ((FOLDER / f"{one}.yaml").read_text() for one in (name, "protocol"))
    shared = "".join(line for line in protocol.splitlines(keepends=True) if not line.startswith("#"))
    assert text.endswith(f"# protocol.yaml:\n{shared}")
    config = config_of(name)
    assert config.settings() | {"model": None} == config_of("protocol").settings() | {"model": None}
    assert re.fullmatch("[0-9a-f]{40}", config.model.revision or "")
    changed = {key for key, value in config.model.model_dump().items() if value != Config().model.model_dump()[key]}
    assert changed <= {"source", "subfolder", "revision", "frames"}  # nothing that a ranking takes apart


@pytest.mark.parametrize("name", FAMILIES)
def test_a_dictionary_of_all_starts_is_large_enough_to_be_ranked(name: str):
    config, d = config_of(name), math.prod(stated(name))
    assert config.sparse.five_percent(d) <= config.seeds.count


@pytest.mark.parametrize("name", FAMILIES)
def test_the_latent_of_the_public_configuration_has_the_stated_shape(name: str, tmp_path: Path):
    config = config_of(name)
    (tmp_path / "config.json").write_text(json.dumps({"_diffusers_version": "0.42.1", **FAMILIES[name]}))
    spec = config.model.model_copy(update={"source": str(tmp_path), "subfolder": None, "revision": None})
    model = outline(spec)
    assert model is not None
    x = torch.zeros(1, *model.check_resolution(config.resolution), device="meta")
    assert tuple(model.encode(x).shape[1:]) == stated(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_narrow_model_with_random_weights_maps_such_latents_to_themselves(name: str):
    """The same numbers of stages, latent channels and kinds of blocks; fewer channels, and one layer in a block."""
    config = {key: value for key, value in FAMILIES[name].items() if key != "_class_name"}
    for key, value in config.items():
        if key.endswith("block_out_channels"):
            config[key] = [32] * len(value)
        elif key.endswith("layers_per_block"):
            config[key] = [1] * len(value) if isinstance(value, list) else 1
    narrow = {"base_dim": 8, "num_res_blocks": 1}
    config |= {key: value for key, value in narrow.items() if key in config}
    model = untrained(FAMILIES[name]["_class_name"], config, seed=0, frames=config_of(name).model.frames)
    z = torch.randn(2, *stated(name), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        again = model.encode(model.decode(z))
    assert again.shape == z.shape
    assert again.isfinite().all()
