"""Which policy a profile asks for."""

from __future__ import annotations

from pathlib import Path

from loadtests.options.episode import OwnPolicyOptions, PolicyOption
from loadtests.policies.known import KnownPolicy
from loadtests.policies.modules import loaded
from loadtests.policies.own import OwnPolicy
from loadtests.policies.policy import Policy
from loadtests.policies.scripted import ScriptedPolicy
from loadtests.policies.trajectory import RecordedPolicy, read


def policy_of(option: PolicyOption) -> Policy:
    """The policy; its files are read, its module is imported.

    Raises:
        BadTrajectory: the recorded file cannot be used.
        NotThere: the module or the function is not there; whatever importing it raises, too.
    """
    if not isinstance(option, OwnPolicyOptions):
        return KnownPolicy(option)
    if option.scripted is not None:
        return ScriptedPolicy(option.scripted)
    if option.python is not None:
        return OwnPolicy(loaded(option.python, Path(option.folder).absolute()))
    return RecordedPolicy(read(Path(option.recorded or "")))
