"""Configuration: defaults, YAML and command line, and what it refuses."""

import pytest
import yaml

from probe.config import SparseConfig, load_config
from probe.errors import UserError
from probe.reading import parse_yaml


def test_command_line_over_yaml_over_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("solver: {max_steps: 7, tolerance: 1e-3}\n")
    config = load_config(file, ["solver.max_steps=9", "dictionary.cosine=0.95", "datasets.digits.n=3"])
    assert config.solver.max_steps == 9
    assert config.solver.tolerance == 1e-3
    assert config.solver.batch_size == "auto"
    assert config.dictionary.cosine == 0.95
    assert config.datasets["digits"].n == 3


def test_numbers_without_a_dot_are_numbers():
    assert load_config(None, ["solver.tolerance=1e-7"]).solver.tolerance == 1e-7


def test_levels_are_atoms_or_fractions_and_five_percent_is_always_there():
    assert SparseConfig(levels=(4, 0.5, 10_000)).atoms(256) == [4, 13, 128, 256]
    assert SparseConfig(levels=(0.05,)).atoms(512) == [26]
    assert SparseConfig(levels=()).atoms(3) == [1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("solver.max_stps=3", "did you mean 'max_steps'"),
        ("datasets.a.colum=x", "did you mean 'column'"),
        ("zzz=1", "valid keys are basins, clip, datasets, dictionary"),
        ("solver.tolerance=-1", "greater than 0"),
        ("sparse.levels=[true]", "a level is"),
        ("sparse.levels=[1.5]", "a level is"),
        ("sparse.controls=[wavelet]", "random_orthogonal"),
        ("sparse.centre=mean", "'none', 'end_points' or 'heldout'"),
        ("dictionary.outcomes=[]", "at least one"),
        ("model.latents=normalised", "'raw' or 'scaled'"),
        ("datasets={'../x': {}}", "becomes a file name"),
        ("sparse.levels=[.nan]", "a level is"),
        ("solver.tolerance=.inf", "finite"),
        ("nonsense", "must read dotted.key=value"),
        ("seeds.count.x=1", "valid integer"),
    ],
)
def test_mistakes_name_the_key(override, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(None, [override])
    assert "\n" not in str(caught.value)


def test_held_out_images_are_needed_to_centre_on_them():
    few = ["sparse.centre=heldout", "datasets={digits: {holdout: 0}}"]
    with pytest.raises(UserError, match=r"sparse\.centre is heldout: set datasets\.digits\.holdout above 0"):
        load_config(None, few)
    assert load_config(None, few[:1]).sparse.centre == "heldout"


def test_a_revision_that_looks_like_a_number_is_text():
    assert load_config(None, ["model.revision=12e4567"]).model.revision == "12e4567"


def test_what_one_reader_changes_another_does_not_see():
    parse_yaml("a: {b: [1]}", "it")["a"]["b"].append(2)
    assert parse_yaml("a: {b: [1]}", "it") == {"a": {"b": ["1"]}}


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words", "solver: {max_steps: 7}\nsolver: {tolerance: 0.1}"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml"):
        load_config(file)


def test_every_config_of_the_project_is_valid_and_its_presets_resolve(root):
    from probe.data.presets import resolve

    keys = {file: yaml.safe_load(file.read_text()).keys() for file in sorted((root / "configs").glob("*.yaml"))}
    files = [file for file in keys if "model" in keys[file] and "inside" not in keys[file]]  # not those of `probe ood`
    assert {"quickstart.yaml", "paper_sd15.yaml", "paper_sdxl.yaml", "taesd.yaml"} <= {file.name for file in files}
    for file in files:
        config = load_config(file)
        if not file.name.startswith("bench_"):
            assert [resolve(name, spec) for name, spec in config.datasets.items()]
