"""What a configuration may ask for over HTTP."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

import probe.studies.sweeps
from probe.config import Config, ConfigModel, Text, Tracked, parse_config
from probe.data.sources import CHECKED, SOURCES
from probe.serve.policy import LOCAL, TEXTS, Allowance, Refused, field_of, refuse, text_fields
from probe.studies.ood.config import OodConfig, parse_ood_config
from probe.studies.roundtrip.config import RoundtripConfig, parse_roundtrip_config
from probe.studies.sweeps.config import StudyConfig
from probe.studies.sweeps.convergence import ConvergenceConfig

STRICT = Allowance()


def run(**keys: Any) -> Config:
    return parse_config(keys)


def data(source: str, **more: str) -> Config:
    return run(datasets={"mine": {"source": source, **more}})


def subclasses(cls: type) -> Iterator[type]:
    for one in cls.__subclasses__():
        yield one
        yield from subclasses(one)


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models_in(field.annotation)
    for part in get_args(kind):
        yield from models_in(part)


def every_text() -> set[str]:
    for module in pkgutil.walk_packages(probe.studies.sweeps.__path__, "probe.studies.sweeps."):
        importlib.import_module(module.name)
    kinds = [
        Config,
        OodConfig,
        RoundtripConfig,
        *(one for one in subclasses(StudyConfig) if one.__module__.startswith("probe.")),
    ]
    models = {one for kind in kinds for one in models_in(kind)}
    return {field_of(one, name) for one in models for name in text_fields(one)}


def test_every_text_of_every_kind_has_a_rule_and_every_rule_a_text():
    assert every_text() == set(TEXTS), "give each new text or path a rule in probe/serve/policy.py"


def test_the_kinds_that_are_paths_are_those_of_the_sources():
    """The service names them itself, since it does not read the sources."""
    paths = {one.prefix for one in SOURCES if one.place == "PATH"}
    assert paths == set(LOCAL)
    assert paths > set(CHECKED)


class Folder(ConfigModel):
    path: Path | None = Field(None)
    words: dict[str, tuple[Text, ...]] = Field(default_factory=dict)
    number: int = 3


class Newer(Tracked):
    folder: Folder = Field(Folder())


def test_a_text_without_a_rule_is_refused():
    assert text_fields(Folder) == ("path", "words")
    refuse(Newer(), STRICT)
    for folder in (Folder(path=Path("x")), Folder(words={"a": ("b",)})):
        with pytest.raises(Refused, match=r"folder\.(path|words) is not known"):
            refuse(Newer(folder=folder), STRICT)


@pytest.mark.parametrize(
    "config",
    [
        run(),
        run(datasets={"digits": {}, "cifar100": {}}),
        run(clip={"labels": ["cat", "dog"]}, perceptual={}),
        run(model={"source": "stabilityai/sd-vae-ft-mse", "revision": "refs/pr/3", "variant": "fp16"}),
        run(model={"source": "owner/name/vae/file.safetensors", "config": "owner/name", "subfolder": "a/b"}),
        run(model={"source": "https://huggingface.co/owner/name/blob/main/file.safetensors"}),
        run(clip={"model": "hf-hub:laion/CLIP-ViT-B-32", "pretrained": None}),
        run(trackers={"log_with": ["tensorboard"]}),
        data("hub:uoft-cs/cifar100", config="plain", split="test[:10%]"),
        data("hub:owner/name/data/{a,b}-{000..003}.parquet", split="train+test", balance="label"),
        data("bundled:digits"),
        parse_ood_config(
            {
                "model": {},
                "inside": {"train": {"source": "hub:a/b", "n": 3}, "test": {"source": "bundled:digits", "n": 3}},
                "outside": {"noise": {"source": "noise", "n": 3}},
            }
        ),
        parse_roundtrip_config({"models": {"a": {}}, "datasets": {"digits": {}}}),
    ],
)
def test_the_hub_the_bundled_and_the_embedded_are_allowed(config: Tracked):
    refuse(config, STRICT)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (run(model={"source": "python:os:system"}), "model.source"),
        (run(model={"source": "python:/tmp/evil.py:make"}), "model.source"),
        (run(model={"source": "Python:/tmp/evil.py:make"}), "model.source"),
        (run(model={"source": "owner/name", "trust_remote_code": True}), "model.trust_remote_code"),
        (run(model={"source": "/etc"}), "model.source"),
        (run(model={"source": "~/models/mine"}), "model.source"),
        (run(model={"source": "~root/mine"}), "model.source"),
        (run(model={"source": "./models"}), "model.source"),
        (run(model={"source": "../models"}), "model.source"),
        (run(model={"source": "owner/../../../etc"}), "model.source"),
        (run(model={"source": "owner//etc"}), "model.source"),
        (run(model={"source": "file:///etc/passwd"}), "model.source"),
        (run(model={"source": "http://169.254.169.254/latest"}), "model.source"),
        (run(model={"source": "https://huggingface.co.evil.org/a/b"}), "model.source"),
        (run(model={"source": "embedded:../../etc"}), "model.source"),
        (run(model={"source": "/etc/passwd\x00.safetensors"}), "model.source"),
        (run(model={"source": "a/b.safetensors", "config": "/etc"}), "model.config"),
        (run(model={"source": "a/b", "variant": "x/../../../tmp/y"}), "model.variant"),
        (run(model={"source": "a/b", "revision": "../../../etc"}), "model.revision"),
        (run(model={"source": "a/b", "revision": "..\\x"}), "model.revision"),
        (data("folder:/home"), "datasets.mine.source"),
        (data("folder:~"), "datasets.mine.source"),
        (data("folder:."), "datasets.mine.source"),
        (data("parquet:/data/*.parquet"), "datasets.mine.source"),
        (data("parquet:http://10.0.0.1/x.parquet"), "datasets.mine.source"),
        (data("parquet:hf://datasets/a/b/x.parquet"), "datasets.mine.source"),
        (data("saved:/srv/set"), "datasets.mine.source"),
        (data("webdataset:/srv/{a,b}.tar"), "datasets.mine.source"),
        (data("hub:a/b/../../x"), "datasets.mine.source"),
        (data("hub:a/b//etc/x.parquet"), "datasets.mine.source"),
        (data("hub:a/b/{x,../y}.parquet"), "datasets.mine.source"),
        (data("hub:a/b/{0..99999999}.parquet"), "datasets.mine.source"),
        (data("hub:a/b/http://10.0.0.1/x.parquet"), "datasets.mine.source"),
        (data("/srv/images"), "datasets.mine.source"),
        (data("images"), "datasets.mine.source"),
        (data("urls:laion/table"), "datasets.mine.source"),
        (data("urls:/etc/x.csv"), "datasets.mine.source"),
        (data("hub:/etc"), "datasets.mine.source"),
        (data("hub:../x"), "datasets.mine.source"),
        (data("hub:tests"), "datasets.mine.source"),  # a folder here
        (data("plugin:/etc"), "datasets.mine.source"),
        (data("HUB:a/b"), "datasets.mine.source"),
        (data("hub:a/b", revision="../main"), "datasets.mine.revision"),
        (run(datasets={"laion": {}}), "datasets.laion.source"),  # a preset of addresses
        (run(clip={"labels": "/etc/passwd"}), "clip.labels"),
        (run(clip={"model": "local-dir:/srv/clip"}), "clip.model"),
        (run(clip={"model": "xlocal-dir:/srv/clip"}), "clip.model"),
        (run(clip={"pretrained": "/srv/w.safetensors"}), "clip.pretrained"),
        (run(perceptual={"lpips": "/srv/w.pth"}), "perceptual.lpips"),
        (run(perceptual={"inception": "w.pth"}), "perceptual.inception"),
        (run(trackers={"log_with": ["tensorboard", "wandb"]}), "trackers.log_with"),
        (run(trackers={"log_with": ["trackio"]}), "trackers.log_with"),
        (
            parse_roundtrip_config({"models": {"a": {}}, "datasets": {"digits": {}}, "run": "/home/other/run"}),
            "run",
        ),
        (
            parse_roundtrip_config({"models": {"a": {"source": "python:os:system"}}, "datasets": {"digits": {}}}),
            "models.a.source",
        ),
        (
            parse_ood_config(
                {
                    "model": {},
                    "inside": {"train": {"source": "hub:a/b", "n": 3}, "test": {"source": "/etc", "n": 3}},
                    "outside": {"far": {"source": "noise", "n": 3}},
                }
            ),
            "inside.test.source",
        ),
        (
            ConvergenceConfig.model_validate(
                {
                    "study": "convergence",
                    "datasets": {"mine": {"train": {"source": "folder:/etc", "n": 3}, "test": 3}},
                    "k": [2],
                }
            ),
            "datasets.mine.train.source",
        ),
    ],
)
def test_code_files_and_addresses_are_refused(config: Tracked, key: str):
    with pytest.raises(Refused, match=rf"^{key} "):
        refuse(config, STRICT)


def test_what_the_operator_names_is_allowed(tmp_path: Path):
    for config, allow in (
        (run(model={"source": "python:/tmp/mine.py:make"}), Allowance(python=True)),
        (run(model={"source": "a/b", "trust_remote_code": True}), Allowance(remote_code=True)),
        (run(datasets={"laion": {}}), Allowance(urls=True)),
        (data("urls:owner/table"), Allowance(urls=True)),
        (run(trackers={"log_with": ["wandb"]}), Allowance(trackers=True)),
        (data(f"folder:{tmp_path}/a"), Allowance(folders=(tmp_path,))),
    ):
        refuse(config, allow)
    for table in ("/etc/x.csv", f"{tmp_path}/{{a,../../x}}.csv"):  # the addresses are allowed, its folder is not
        with pytest.raises(Refused):
            refuse(data(f"urls:{table}"), Allowance(urls=True, folders=(tmp_path,)))


def test_allowed_folders_are_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    (inside / "loop").symlink_to(inside / "loop")
    monkeypatch.setenv("HOME", str(inside))
    monkeypatch.chdir(inside)
    allow = Allowance(folders=(inside,))
    for path in (f"{inside}", f"{inside}/deep", "deep", "./deep", "~/deep", f"{inside}/deep/*.parquet", "deep/../deep"):
        assert allow.holds(path), path
    assert allow.holds(f"{outside}/back/deep")
    for path in (
        f"{inside}/link",
        f"{inside}/link/x",
        f"{inside}/../outside",
        f"{inside}x",
        "..",
        "deep/../..",
        "~root",
        "/",
        "//etc",
        "",
        f"{inside}/*/../../outside",
        f"{inside}/[d]eep/../..",
        f"{inside}\x00",
        "file://x",
        "toy:x",
    ):
        assert allow.holds(path) == (path == ""), path


def test_a_round_trip_may_name_a_run_of_the_server(tmp_path: Path):
    def config(path: object) -> RoundtripConfig:
        return parse_roundtrip_config({"models": {"a": {}}, "datasets": {"digits": {}}, "run": str(path)})

    allow = Allowance(runs=tmp_path)
    refuse(config(tmp_path / "one"), allow)
    for path in (tmp_path / ".." / "other", "/", "~", "one"):
        with pytest.raises(Refused, match=r"^run "):
            refuse(config(path), allow)
    with pytest.raises(Refused):  # for runs alone
        refuse(data(f"folder:{tmp_path}"), allow)
