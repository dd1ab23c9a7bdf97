"""Refusing a model source that is not a model: one sentence on what it is and what to give instead."""

import re
from pathlib import Path
from typing import Any

from probe.autoencoders.adapter import autoencoder_classes
from probe.autoencoders.repository import CONFIG, PICKLES, is_local, local, names_of, what_it_is, where
from probe.config import ModelConfig
from probe.errors import UserError
from probe.reading import Unreadable, read_object

FORMATS = {
    ".gguf": "GGUF", ".onnx": "ONNX", ".h5": "Keras", ".keras": "Keras", ".msgpack": "Flax",
    ".tflite": "TensorFlow Lite", ".pb": "TensorFlow", ".npz": "NumPy",
    **dict.fromkeys((".zip", ".tar", ".gz"), "an archive"),
}  # fmt: skip
"""Suffixes of weights and archives that cannot be read."""
WEIGHTS = "a folder or hub id with config.json and safetensors"
PART = re.compile(r".+-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors", re.IGNORECASE)
VARIANT = re.compile(r"\w+\.(?P<one>[^.]+?)(-\d{5}-of-\d{5})?\.safetensors")
"""diffusion_pytorch_model.fp16.safetensors."""
ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>[^/?#]+/[^/?#]+)(?:/tree/(?P<revision>[^/?#]+))?/?",
    re.IGNORECASE,
)
CACHE = re.compile(r"models--(?P<owner>.+)--(?P<name>.+)")
"""A repository's folder in the cache of the hub."""


def check_source(spec: ModelConfig, source: str) -> None:
    """Refuse a source that is not a model: an address, a file of another format or of a model's folder, or a folder
    without a model. UserError says what to give instead."""
    problem = _of_name(source)
    try:
        if problem is None and is_local(source):
            problem = _of_path(local(source), spec)
        if problem is None and spec.config and local(spec.config).is_file():
            problem = f"has a file as model.config; give its folder, {local(spec.config).parent}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    if problem:
        raise UserError(f"{where(spec, source)} {problem}.")


def weights_at_hand(spec: ModelConfig, source: str) -> str | None:
    """Why a model has no loadable weights, as a predicate, by the names of its files; None if that is unknown."""
    names = names_of(spec, source)
    variants = sorted({match["one"] for name in names if (match := VARIANT.fullmatch(name))})
    plain = any(name.endswith(".safetensors") and not VARIANT.fullmatch(name) for name in names)
    if variants and spec.variant not in variants and (spec.variant or not plain):
        return f"has its weights as {', '.join(variants)} only; set model.variant={variants[0]}"
    if spec.variant and plain:
        return f"has no variant {spec.variant!r}; leave model.variant out"
    if not plain and not variants and (pickles := [name for name in names if name.endswith(PICKLES)]):
        return (
            f"has weights in pickle form only ({', '.join(pickles[:3])}), which can run code when opened; "
            "`probe convert` makes safetensors of them without running any"
        )
    others = [name for name in names if Path(name).suffix.lower() in FORMATS]
    if others and not plain and not variants:
        return f"has weights in other formats only ({', '.join(others[:3])}), which cannot be read; get its safetensors"
    return None


def pickled(source: str) -> str:
    """What to do with a file in pickle form, as a predicate."""
    path = local(source)
    base = f"is in pickle form ({path.suffix.lower()}), which can run code; `probe convert` makes safetensors"
    if (path.parent / CONFIG).is_file():
        return f"{base} of it, and config.json is beside it"
    return (
        f"{base} of it, and model.config must then name the config.json of a class of diffusers; a class of your own "
        "needs model.source=python:FILE.py:FUNCTION, where the function loads this file"
    )


def _of_name(source: str) -> str | None:
    if source != source.strip() or not source:
        return "begins or ends with a space, or is empty; give a folder, a file or a hub id"
    scheme, colon, rest = source.partition(":")
    if colon and scheme.lower() in ("python", "embedded") and not is_local(source):
        return f"must be written {scheme.lower()}:{rest}, in lower case"
    if match := ADDRESS.fullmatch(source):
        revision = f" and model.revision={match['revision']}" if match["revision"] else ""
        return f"is an address; give the hub id {match['id']}{revision}"
    if re.match(r"(?i)(https?|ftp|s3|gs|hf)://", source) and not re.match(r"(?i)https?://huggingface\.co/", source):
        return f"is an address, and models load from {WEIGHTS}; give one, or download it and give its folder"
    if Path(source).suffix.lower() in PICKLES:
        return pickled(source)
    if not is_local(source) and source.endswith("/"):
        return f"ends with a slash and is not a local folder; give {source.rstrip('/')} for the hub"
    return None


def _of_path(path: Path, spec: ModelConfig) -> str | None:
    suffix, name = path.suffix.lower(), path.name
    if path.is_dir():
        return _of_folder(path, spec)
    if not path.is_file():
        if suffix == ".safetensors":
            return None  # reported elsewhere
        return "does not exist: there is no such file or folder, so no config.json; check the path"
    if name in (CONFIG, "model_index.json") or name.endswith(".index.json"):
        return f"is a file in a model's folder; give the folder {path.parent}"
    if suffix == ".py":
        return f"is code; give python:{path}:FUNCTION, where the function returns the model"
    if suffix in FORMATS:
        return f"is in an unsupported format ({FORMATS[suffix]}); give {WEIGHTS}"
    if suffix != ".safetensors":
        return f"is a file of unknown type; give {WEIGHTS}, or a .safetensors file"
    if match := PART.fullmatch(name):
        return f"is part {int(match['number'])} of {int(match['count'])}; give the folder {path.parent}"
    return what_it_is(path)


def _of_folder(path: Path, spec: ModelConfig) -> str | None:
    if (path / "snapshots").is_dir() and not (path / CONFIG).exists():
        return _of_cache(path)
    if cached := sorted(one.name for one in path.glob("models--*--*")):
        ids = ", ".join(name.removeprefix("models--").replace("--", "/") for name in cached[:3])
        return f"is the hub's cache; give the id of a model in it ({ids})"
    folder = path / (spec.subfolder or "")
    if not folder.is_dir():
        return f"has no such subfolder; {_hint(sorted(one.parent.name for one in path.glob(f'*/{CONFIG}')))}"
    if not any(folder.iterdir()):
        return f"is empty: there is no config.json in it; give {WEIGHTS}"
    if not (folder / CONFIG).is_file():
        return _without_config(folder, spec)
    for file in sorted(folder.glob("*.safetensors")):
        if problem := what_it_is(file):
            return f"does not load: {file.name} {problem}"
    return None


def _of_cache(path: Path) -> str:
    match = CACHE.fullmatch(path.name)
    whose = f"of {match['owner']}/{match['name']}: give that id" if match else "of a repository: give its hub id"
    ref, snapshots = path / "refs" / "main", path / "snapshots"
    main = [snapshots / ref.read_text().strip()] if ref.is_file() else []
    snapshot = next((one for one in (*main, *sorted(snapshots.iterdir())) if one.is_dir()), None)
    return f"is the hub's cache {whose}" + (f", or its snapshot {snapshot}" if snapshot else " (no snapshot is in it)")


def _without_config(folder: Path, spec: ModelConfig) -> str | None:
    inside = {one.parent.name: _config(one) for one in sorted(folder.glob(f"*/{CONFIG}"))}
    good = [name for name, config in inside.items() if _is_autoencoders(config)]
    if spec.subfolder is None and good:
        return None if "vae" in good else f"has no config.json; {_hint(good)}"
    if inside:
        classes = ", ".join(f"{name} ({config.get('_class_name', 'no class')})" for name, config in inside.items())
        return f"holds {classes:.200}, but no autoencoder; give a folder or hub id with one"
    files = sorted(one for one in folder.iterdir() if one.is_file())
    if pickle := next((file for file in files if file.suffix.lower() in PICKLES), None):
        return f"has no config.json; its file {pickle} {pickled(str(pickle))}"
    if weights := next((file.name for file in files if file.name.endswith(".safetensors")), None):
        return f"has {weights} but there is no config.json; add it, or give the file and model.config"
    return weights_at_hand(spec, str(folder)) or f"is not a model: there is no config.json in it; give {WEIGHTS}"


def _is_autoencoders(config: dict[str, Any]) -> bool:
    own = config.get("auto_map") or config.get("model_type") == "vit_mae"
    return bool(own) or config.get("_class_name") in autoencoder_classes()


def _config(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except Unreadable:
        return {}


def _hint(inside: list[str]) -> str:
    return f"set model.subfolder to one of {', '.join(inside[:8])}" if inside else f"give {WEIGHTS}"
