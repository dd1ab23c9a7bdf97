"""The cluster profile: one YAML file, checked like a configuration.

All values end up in shell scripts as single words, except ``setup``, which is the user's own shell code.
"""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from jobs.kinds import KINDS
from probe.config import ConfigModel, Name, Text, read_yaml, validated
from probe.errors import UserError
from probe.reading import short

STAGES = tuple(dict.fromkeys(stage.name for kind in KINDS for stage in kind.stages))
"""Of every kind of work."""


def _matching(pattern: str, meaning: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):  # Slurm takes no digits of other scripts
            raise ValueError(f"this must be {meaning}")
        return value

    return AfterValidator(check)


_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.,@%+:=/~-]*"
_MODULE = rf"/?{_WORD}"  # a module file may be given by its path
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"
Word = Annotated[Text, _matching(_WORD, "a name of Slurm's: letters, digits and _.,@%+:=/~-, without spaces")]
TimeLimit = Annotated[
    Text,
    _matching(
        r"(?i:unlimited|infinite)|(\d+-)?\d+(:\d+){0,2}",
        'minutes, "hours:minutes:seconds" or "days-hours:minutes:seconds", in quotation marks',
    ),
]
Memory = Annotated[Text, _matching(r"\d+[KMGTkmgt]?[Bb]?", "a size such as 64G")]
Modules = Annotated[Text, _matching(rf"{_MODULE}( +{_MODULE})*", "module names; shell code goes into `setup`")]
Line = Annotated[Text, _matching(r"[^\x00]*", "text without NUL characters")]
Program = Annotated[
    Text,
    AfterValidator(os.path.expanduser),  # no shell does: the scripts quote it
    _matching(rf"(?!-){_PRINTABLE}\S", "the path of an interpreter"),
]


class Resources(ConfigModel):
    """Resources of the job of one stage; ``None`` and 0 leave the choice to the cluster."""

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    time: TimeLimit | None = Field(None, description="time limit, as sbatch takes it")
    nodes: int = Field(1, ge=1, le=100_000)
    tasks_per_node: int = Field(1, ge=1, le=10_000, description="ranks on a node: one per GPU")
    cpus_per_task: int = Field(1, ge=1, le=10_000)
    gpus_per_task: int = Field(0, ge=0, le=1000)
    memory: Memory | None = Field(None, description="per node, as sbatch --mem takes it")
    options: tuple[Text, ...] = Field((), max_length=1000, description="further options of sbatch")
    modules: tuple[Modules, ...] = Field((), max_length=1000, description="for `module load`")
    setup: tuple[Line, ...] = Field((), max_length=1000, description="lines of bash before the work")
    environment: dict[Name, Line] = Field(default_factory=dict, max_length=1000)
    python: Program = Field(sys.executable, description="the interpreter; by default the one that submits")
    signal_seconds: int = Field(120, ge=0, le=65_535, description="of warning before the time limit; 0: none")
    requeues: int = Field(20, ge=0, le=10_000, description="how often a job may be requeued")
    array: int | None = Field(
        None,
        ge=1,
        le=4_000_000,
        description="run a stage as an array of so many independent tasks of one rank each, where its parts can be "
        "shared; by default only the models of a study are one, of nodes x tasks_per_node tasks",
    )

    @field_validator("options")
    @classmethod
    def _dashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            # Slurm and shells read a backslash within quotation marks differently.
            if not re.fullmatch(rf"-{_PRINTABLE}", option) or "\\" in option or not _words(option):
                raise ValueError(f"{short(option)} is no option of sbatch; write it as --name=value")
        return value

    @field_validator("environment")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{short(name)} is no name of an environment variable")
        return value

    def as_array(self, parts: int) -> "Resources":
        """One rank, to be run by each of ``array`` tasks, at most one per part."""
        tasks = max(min(self.array or self.nodes * self.tasks_per_node, parts), 1)
        one = {"nodes": 1, "tasks_per_node": 1, "array": tasks, "options": (*self.options, f"--array=0-{tasks - 1}")}
        return self.model_copy(update=one)

    def sbatch_options(self) -> list[str]:
        """The options of sbatch for these resources, quoted for a line of the script."""
        asked = {
            "--partition": self.partition,
            "--account": self.account,
            "--qos": self.qos,
            "--time": self.time,
            "--nodes": self.nodes,
            "--ntasks-per-node": self.tasks_per_node,
            "--cpus-per-task": self.cpus_per_task,
            "--gpus-per-task": self.gpus_per_task or None,
            "--mem": self.memory,
            "--signal": f"B:USR1@{self.signal_seconds}" if self.signal_seconds else None,
        }
        return [
            *(f"{name}={value}" for name, value in asked.items() if value is not None),
            "--requeue",
            "--open-mode=append",
            *(shlex.join(_words(option)) for option in self.options),
        ]


def _words(option: str) -> list[str]:
    """The words of an option as a shell reads them; none if its quotation marks do not match."""
    try:
        return shlex.split(option)
    except ValueError:
        return []


class ClusterProfile(Resources):
    """A cluster: resources of all stages, with exceptions by stage."""

    stages: dict[Name, dict[str, object]] = Field(default_factory=dict, max_length=100)
    template: Text = Field("stage.sbatch.j2", description="a file beside the profile, or the default")

    @field_validator("stages")
    @classmethod
    def _known(cls, value: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        for name in value:
            if name not in STAGES:
                raise ValueError(f"there is no stage {short(name)}; stages are {', '.join(STAGES)}")
        return value

    def of(self, stage: str, gpu: bool = True) -> Resources:
        """The resources of one stage.

        Args:
            gpu: whether the stage uses one; else it gets none unless the profile says so for this stage.

        Raises:
            UserError: a key of the stage is unknown or wrong.
        """
        common = self.model_dump(exclude={"stages", "template"}) | ({} if gpu else {"gpus_per_task": 0})
        return validated(Resources, {**common, **self.stages.get(stage, {})})


def load_profile(path: Path) -> ClusterProfile:
    """Read a cluster profile.

    Raises:
        UserError: it cannot be read, or a key is unknown or wrong, for the cluster or for one of its stages.
    """
    data = read_yaml(path)
    if len(data) > 1 and not data.keys() & ClusterProfile.model_fields.keys():
        raise UserError(f"{path} is no cluster profile: it has none of its keys; slurm/example.yaml shows one.")
    try:
        profile = validated(ClusterProfile, data)
        for stage in STAGES:
            profile.of(stage)
    except UserError as error:
        raise UserError(f"cluster profile {path}: {error}") from None
    return profile


def is_profile(data: dict[str, Any]) -> bool:
    """Whether the content of a file, given as a configuration, is a cluster profile."""
    return bool(data) and data.keys() <= ClusterProfile.model_fields.keys()
