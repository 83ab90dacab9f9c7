"""The options of users that play episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.policies import modules, trajectory
from loadtests.policies.draws import Steps, Think, ThinkTime
from loadtests.policies.scripted import ScriptedStep, template_fault
from slo.model import Model
from slo.quantities import Duration

NO_NONCE = "none"


class OwnPolicyOptions(Model):
    """A policy of the user's own: a script, a Python function, or what was recorded. One of them."""

    scripted: tuple[ScriptedStep, ...] | None = Field(None, min_length=1, max_length=10_000)
    python: str | None = Field(
        None,
        pattern=modules.REFERENCE,
        description="A function (observation, rng, step) that returns an action.",
    )
    recorded: str | None = Field(None, min_length=1, description="A file of golden trajectories (JSONL).")
    folder: str = Field("", description="Where the function's module is; the project's folder if left out.")

    @model_validator(mode="after")
    def _one(self) -> OwnPolicyOptions:
        ways = (self.scripted, self.python, self.recorded)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("expected one of scripted, python and recorded")
        return self


PolicyName = Literal["oracle", "null", "random"]


def _is_mapping(value: object) -> str:
    return "own" if isinstance(value, dict | Model) else "known"


PolicyOption = Annotated[
    Annotated[PolicyName, Tag("known")] | Annotated[OwnPolicyOptions, Tag("own")],
    Discriminator(_is_mapping),
]


class Recording(Model):
    """Where episodes are recorded as golden trajectories."""

    file: str = Field(min_length=1, description="Episodes without a failure are appended to it, each once.")
    ignore: tuple[Annotated[str, Field(pattern="^/.*")], ...] = Field(
        default=(), max_length=100, description="What observations may differ in, as JSON Pointers into them."
    )


class EpisodeOptions(Model):
    """An episode on an OpenEnv WebSocket: reset, `steps` steps with think time, close."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0, description="How long a client waits for one reply.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="How often one step is tried again after a failure.")
    steps: Steps | None = Field(
        None,
        description="Most steps in an episode, or how they are drawn; if left out 10, or a script's own.",
    )
    think: ThinkTime = Field(
        0.0, description="Mean (exponential) pause between a reply and the next step, or how it is drawn."
    )
    policy: PolicyOption = "oracle"
    path: str = Field("/ws", pattern=r"^/")
    tasks: int = Field(50, ge=1, description="Episodes draw their task from this many seeds.")
    seeds: bool = Field(True, description="Whether a reset carries the seed.")
    reset: dict[str, JsonValue] = Field(
        default_factory=dict, description="What a reset carries besides; may hold the template ${seed}."
    )
    nonce: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The field of actions and observations that echoes a nonce, or none; by itself nonce "
        "with the policies oracle, null and random, which are the demo's, else none.",
    )
    check_nonce: bool = Field(
        False,
        description="A careful client takes a reply that echoes another nonce for a failure (mispaired) and "
        "opens a new connection. Stock clients cannot: this is what a protocol with request ids would do.",
    )
    resume: Literal["replay", "never"] = Field(
        "replay",
        description="A careful client that lost its connection plays the episode again up to there, which "
        "takes a deterministic environment; or gives the episode up.",
    )
    record: Recording | None = Field(None, description="Record golden trajectories.")

    @model_validator(mode="after")
    def _consistent(self) -> EpisodeOptions:
        recorded = isinstance(self.policy, OwnPolicyOptions) and self.policy.recorded is not None
        if recorded and self.record is not None:
            raise ValueError("record cannot go with a recorded policy, which has nothing new")
        if recorded and self.steps is not None:
            raise ValueError("steps cannot go with a recorded policy, which has as many as were recorded")
        if self.check_nonce and (self.nonce_field is None or self.client == "naive"):
            raise ValueError("check_nonce needs a careful client, and a nonce")
        if fault := template_fault(self.reset, ("seed",)):
            raise ValueError(f"reset has a wrong template: {fault}")
        return self

    @property
    def nonce_field(self) -> str | None:
        """The field that carries the nonce, or None."""
        if self.nonce is None:
            return "nonce" if isinstance(self.policy, str) else None
        return None if self.nonce == NO_NONCE else self.nonce


class EpisodeProfile(Profile):
    """Users that play episodes."""

    user: Literal["episode"]
    with_: EpisodeOptions = Field(default_factory=EpisodeOptions, alias="with")

    def placed(self, root: Path) -> Self:
        """With the files that it names made absolute."""
        options = self.with_
        changes: dict[str, object] = {}
        if isinstance(options.think, Think):
            changes["think"] = options.think.placed(root)
        if isinstance(options.policy, OwnPolicyOptions):
            policy = options.policy
            where: dict[str, object] = {"folder": str(root / policy.folder)} if policy.python else {}
            if policy.recorded:
                where["recorded"] = str(root / policy.recorded)
            changes["policy"] = policy.model_copy(update=where)
        if options.record is not None:
            changes["record"] = options.record.model_copy(update={"file": str(root / options.record.file)})
        if not changes:
            return self
        return self.model_copy(update={"with_": options.model_copy(update=changes)})

    def flaws(self) -> list[Flaw]:
        """What its files tell."""
        options, found = self.with_, list[Flaw]()
        if isinstance(options.think, Think):
            found += options.think.flaws(("with", "think"))
        if isinstance(options.policy, OwnPolicyOptions):
            found += _policy_flaws(options.policy)
        if options.record is not None and not Path(options.record.file).parent.is_dir():
            folder = Path(options.record.file).parent
            found.append(Flaw(("with", "record", "file"), f"there is no folder {folder}", "make it first"))
        return found


def _policy_flaws(policy: OwnPolicyOptions) -> list[Flaw]:
    key = ("with", "policy")
    if policy.python is not None:
        message = modules.missing(policy.python, Path(policy.folder))
        hint = "a module's folder starts at the project's; folder: says another"
        return [Flaw((*key, "python"), message, hint)] if message else []
    if policy.recorded is None:
        return []
    try:
        trajectory.read(Path(policy.recorded))
    except trajectory.BadTrajectory as error:
        if error.line:
            return [Flaw((*key, "recorded"), str(error), file=policy.recorded, at=(error.line, 1))]
        return [Flaw((*key, "recorded"), str(error), "record: {file: …} of an episode user writes one")]
    return []
