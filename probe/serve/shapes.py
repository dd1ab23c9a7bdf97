"""What the API takes and answers, for its OpenAPI document. ``Row.as_json`` and others write the answers, and a test
compares them with these."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from probe.kinds import Kind
from probe.serve.states import State

CONFIGURATION = "Configuration"
"""The component of the OpenAPI document with the configurations of all kinds."""
Configured = Annotated[dict[str, Any], WithJsonSchema({"$ref": f"#/components/schemas/{CONFIGURATION}"})]


class Sent(BaseModel):
    """A configuration, as JSON or as a YAML text: give one of both."""

    model_config = ConfigDict(extra="forbid")

    config: Configured | None = Field(None, description="the configuration")
    config_yaml: str | None = Field(None, description="the same as a YAML text, as in a configuration file")
    kind: Kind | None = Field(None, description="refuse the configuration of another kind of work")


class ToSubmit(Sent):
    """What `POST /v1/runs` takes."""

    executor: Literal["local", "slurm"] | None = Field(None, description="where it runs; default: the server's")
    name: str | None = Field(None, description="shown in lists; default: from the model", max_length=200)
    id: str | None = Field(
        None,
        description="id of the run, which names its folder; default: made",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$",
    )


class ToCheck(Sent):
    """What `POST /v1/validate` takes."""


class ToPlan(Sent):
    """What `POST /v1/plan` takes."""

    gpu: list[str] = Field([], description="plan for these GPUs, such as H100; default: this machine", max_length=20)
    gpus: int = Field(1, ge=1, le=1_000_000, description="GPUs, or processes, that share the work")
    pilot: int | None = Field(None, ge=0, le=1000, description="starts to iterate, to know how many steps they take")


class Progress(BaseModel):
    """The stage at work, as it reported last."""

    stage: str = Field(description="its name")
    unit: str = Field(description="what is counted")
    done: float = Field(description="units done")
    total: float = Field(description="units planned")
    rate: float = Field(description="units a second")
    seconds_left: float | None = Field(description="at this rate; null: unknown")


class StageState(BaseModel):
    """A stage."""

    name: str = Field(description="its name")
    state: str = Field(description="complete, waiting, running, stopped or not answering")
    done: int = Field(description="units done")
    planned: int | None = Field(description="units planned; null: unknown yet")
    unit: str = Field(description="what is counted")


class LastError(BaseModel):
    """The last error of the worker."""

    status: int | None = Field(None, description="exit status: 2 a mistake that the user can fix, 1 a failure")
    message: str = Field(description="the command line's sentence")
    time: str | None = Field(None, description="when")


class Links(BaseModel):
    """Paths on this server."""

    self: str
    events: str
    logs: str
    report: str
    artifacts: str


class Run(BaseModel):
    """A run, study, OOD experiment or round trip."""

    id: str = Field(description="names it on this server")
    name: str = Field(description="for people")
    kind: Kind = Field(description="of work")
    state: State = Field(description="derived from processes, locks, Slurm and results")
    reason: str = Field(description="why it is in this state; may be empty")
    model: str | None = Field(description="source of its model; null where there is none or are several")
    executor: str | None = Field(description="local or slurm; null: it was not made by the service")
    submitted: str = Field(description="ISO 8601, UTC")
    started: str | None = Field(description="when its first attempt began")
    finished: str | None = Field(description="when it ended")
    updated: str | None = Field(description="when something was seen to change")
    rev: int = Field(description="grows with every change of any run")
    ours: bool = Field(description="made by the service, which can then cancel, resume and delete it")
    progress: Progress | None = Field(description="while it runs")
    stages: list[StageState] = Field(description="in order")
    outcomes: dict[str, int] | None = Field(description="starts that have ended so far, by outcome")
    error: LastError | None = Field(description="null after a good end")
    slurm: dict[str, Any] | None = Field(description="job ids by stage, and their states")
    summary: dict[str, Any] | None = Field(description="a few numbers of the report")
    links: Links = Field(description="where more is")


class Runs(BaseModel):
    """A page of runs, newest first."""

    runs: list[Run]
    next: str | None = Field(description="cursor of the next page; null: this is the last")


class Checked(BaseModel):
    """The configuration is valid."""

    ok: Literal[True] = True
    kind: Kind = Field(description="of work")


class Plans(BaseModel):
    """What a configuration will cost."""

    plans: list[dict[str, Any]] = Field(description="as `probe plan --json` writes them: one for each GPU, or one")
    text: str = Field(description="as `probe plan` prints them")


class Model(BaseModel):
    """A class of autoencoders; `probe models --json` has the same rows."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="of the class")
    kind: str = Field(description="of autoencoder")
    status: str = Field(description="whether it can be probed")
    reason: str = Field(description="why not")


class Preset(BaseModel):
    """A data set that a configuration may just name."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="key under datasets")
    source: str = Field(description="where its images are")


class LogFiles(BaseModel):
    """The logs of a run."""

    files: list[str] = Field(description="for the parameter `file`")
    default: str | None = Field(description="shown without it; null: there is none yet")


class Artifact(BaseModel):
    """A file of a run."""

    path: str = Field(description="below the run directory")
    bytes: int = Field(description="size")
    modified: str = Field(description="ISO 8601, UTC")
    type: str = Field(description="media type")
    url: str = Field(description="path on this server")


class Artifacts(BaseModel):
    """The files of a run."""

    artifacts: list[Artifact]
    more: bool = Field(description="whether files were left out, since there are too many")


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="of probe")


class Ready(BaseModel):
    """The server takes runs."""

    status: Literal["ready", "not ready"]
    slots: dict[str, int] = Field(description="used and all local slots")
