"""An experiment with all that it refers to, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtests.options.episode import EpisodeOptions

from .conftest import EXPERIMENT, OBJECTIVES, Folder

Has = Callable[[list[str], str], None]
SLOW = "chaos/experiments/slow.yaml"
HERE = "chaos/targets/here.yaml"


def test_a_right_experiment_resolves(folder: Folder) -> None:
    """Target, profiles with their overrides, objectives with their runbooks."""
    resolved = folder.resolve()
    assert resolved.target.metadata.name == "here"
    (load,) = resolved.loads
    assert (load.name, load.profile.arrivals) == ("players", 5)
    assert load.profile.with_ == EpisodeOptions(steps=5, client="naive")
    pairing, steps = resolved.requirements
    assert (pairing.objective.name, pairing.runbook) == ("pairing", "mixed-up")
    assert pairing.phases == ("baseline", "fault", "recovery")
    assert (steps.phases, steps.runbook, steps.min_samples) == (("baseline",), "other", 1)
    assert resolved.runbooks == {
        "mixed-up": folder.root / "runbooks/mixed-up.md",
        "other": folder.root / "runbooks/other.md",
    }


def test_what_is_resolved_is_self_contained(folder: Folder) -> None:
    """The resolved text alone, in another place, resolves to the same; `--set` values are in it."""
    folder.write("t.yaml", (folder.root / HERE).read_text().replace("8000", "9000"))
    folder.change(SLOW, "target: here", "target: ../../t.yaml")
    folder.change(SLOW, "ref: pairing", "ref: back")
    first = folder.resolve(sets={"phases.fault": "9s", "load.with.timeout": "1s"})
    for path in (SLOW, HERE, "t.yaml", "loadtests/profiles/players.yaml", "slo/objectives/all.yaml"):
        (folder.root / path).unlink()
    folder.write("deep/experiment.yaml", first.resolved_yaml)
    second = folder.resolve("./deep/experiment.yaml")
    assert second.experiment.spec.phases.fault == 9
    assert second.requirements == first.requirements
    assert second.target == first.target
    assert [load.profile for load in second.loads] == [load.profile for load in first.loads]
    assert second.resolved_yaml == first.resolved_yaml


def test_overrides_are_checked_where_they_stand(folder: Folder, has: Has) -> None:
    """A wrong override is shown in the experiment; what is wrong in the profile, in the profile."""
    folder.change(SLOW, "steps: 5", "steps: 5\n      timeout: 250\n      tries: 3")
    folder.change("loadtests/profiles/players.yaml", "arrivals: 5/s", "arrivals: 5")
    problems = folder.refused()
    has(problems, f"{SLOW}:11:16: spec.load.with.timeout: expected a duration")
    has(problems, f"{SLOW}:12:7: spec.load.with.tries: no such key here\n  hint: did you mean retries?")
    has(problems, "loadtests/profiles/players.yaml:7:13: spec.arrivals: expected a rate such as 20/s, got 5")
    assert len(problems) == 3


def test_one_profile_may_be_used_twice(folder: Folder) -> None:
    """Workloads have names of their own."""
    folder.change(
        SLOW,
        "load:\n    profile: players\n    with:\n      steps: 5",
        "load:\n    - profile: players\n    - {profile: players, arrivals: 2/s}",
    )
    assert [(load.name, load.profile.arrivals) for load in folder.resolve().loads] == [
        ("players", 5),
        ("players-2", 2),
    ]


def test_an_objective_without_a_runbook_is_refused(folder: Folder, has: Has) -> None:
    """A breach that nobody knows what to do about helps nobody."""
    folder.change(SLOW, "\n      runbook: other", "")
    has(
        folder.refused(),
        f"{SLOW}:23:7: spec.objectives[1]: the objective steps is used without a runbook\n  hint: write",
    )
    folder.change(
        "slo/objectives/all.yaml",
        "metadata: {name: steps}",
        "metadata: {name: steps, annotations: {brownout.dev/runbook: gone}}",
    )
    has(
        folder.refused(),
        "slo/objectives/all.yaml:17:61: metadata.annotations.brownout.dev/runbook: there is no runbook gone",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "place: environment",
            "place: enviroment",
            "18:14: spec.faults[0].place: the target here has no place enviroment\n"
            "  hint: did you mean environment?",
        ),
        (
            "for: 2s",
            "for: 7s",
            "20:12: spec.faults[0].for: expected at most 6s, when the fault phase ends, got 7s",
        ),
        (
            "for: 2s",
            "at: 5s\n      for: 2s",
            "21:12: spec.faults[0].for: expected at most 1s, when the fault phase ends, got 2s",
        ),
        (
            "for: 2s",
            "at: 6s",
            "20:11: spec.faults[0].at: expected a time before the fault phase ends (6s), got 6s",
        ),
        (
            "latency: 250ms",
            "latency: 0s",
            "19:16: spec.faults[0].latency: expected a latency or a jitter",
        ),
        (
            "latency: 250ms",
            "latency: 500us",
            "19:16: spec.faults[0].latency: expected at least 1ms, got 500us",
        ),
        (
            "latency: 250ms",
            "latency: 2d",
            "19:16: spec.faults[0].latency: expected at most 24h, got 48h",
        ),
        (
            "latency: 250ms",
            "latency: 1s\n      toxicity: 0",
            "20:17: spec.faults[0].toxicity: expected more than 0",
        ),
        (
            "- ref: pairing",
            "- ref: steps\n      runbook: other",
            "24:12: spec.objectives[1].ref: steps is used twice for the phase baseline",
        ),
        (
            "- ref: pairing",
            "- ref: back\n      phases: [fault]",
            "23:15: spec.objectives[0].phases: back is a recovery",
        ),
        (
            "- ref: pairing",
            "- ref: pairing\n      phases: [fault, fault]",
            "23:15: spec.objectives[0].phases: a phase is written twice",
        ),
        (
            "objectives:",
            "abort: [{objective: step}]\n  objectives:",
            "21:23: spec.abort[0].objective: step is none of the objectives of this experiment\n"
            "  hint: did you mean steps?",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(
    folder: Folder, has: Has, old: str, new: str, said: str
) -> None:
    """Faults fit their phase and their target; objectives fit their use."""
    folder.change(SLOW, old, new)
    has(folder.refused(), f"{SLOW}:{said}")


def test_faults_that_a_proxy_cannot_perform_are_refused(folder: Folder, has: Has) -> None:
    """A slicer that would crash the proxy, a rate that it cannot count, two outages at once."""
    fault = EXPERIMENT[EXPERIMENT.index("        - name: late") : EXPERIMENT.index("      objectives:")]
    faults = """
        - {name: a, place: environment, type: slicer, average_size: 10B, size_variation: 10B}
        - {name: b, place: environment, type: bandwidth, rate: 10B/s}
        - {name: c, place: environment, type: down, for: 3s}
        - {name: d, place: environment, type: down, at: 2s}
        - {name: a, place: environment, type: limit_data, bytes: 2000GiB}
    """
    folder.write(SLOW, EXPERIMENT.replace(fault, faults.strip("\n") + "\n"))
    problems = folder.refused()
    has(
        problems,
        f"{SLOW}:16:86: spec.faults[0].size_variation: expected less than average_size (10B), got 10B",
    )
    has(problems, f"{SLOW}:17:60: spec.faults[1].rate: expected 0B/s or at least 1kB/s, got 10B/s")
    has(problems, f"{SLOW}:19:7: spec.faults[3]: environment is down already: c overlaps with d")
    has(problems, f"{SLOW}:20:14: spec.faults[4].name: a is the name of faults[0] too")
    has(problems, f"{SLOW}:20:62: spec.faults[4].bytes: expected at most 1024GiB")
    assert len(problems) == 5


def test_references_and_values_are_told_at_once(folder: Folder, has: Has) -> None:
    """A mistyped key does not hide an unknown target, nor the other way round."""
    folder.change(SLOW, "target: here", "target: her")
    folder.change(SLOW, "latency: 250ms", "latency: 250")
    folder.change(SLOW, "fault: 6s", "fualt: 6s")
    assert len(folder.refused()) == 3


def test_another_target_can_be_given(folder: Folder, has: Has) -> None:
    """`--target` is checked like the experiment's own: its places have to fit."""
    folder.write(
        "chaos/targets/there.yaml", (folder.root / HERE).read_text().replace("name: here", "name: there")
    )
    assert folder.resolve(target="there").target.metadata.name == "there"
    has(folder.refused(target="ther"), "--target ther: there is no target ther\n  hint: did you mean there?")
    has(
        folder.refused(target="demo-evals"),
        f"{SLOW}:18:14: spec.faults[0].place: the target demo-evals has no place",
    )
    has(
        folder.refused(target="demo-evals"),
        f"{SLOW}:8:14: spec.load.profile: players needs the service environment, which the target has not",
    )


def test_a_recovery_asks_about_an_slo(folder: Folder, has: Has) -> None:
    """A recovery of an invariant is refused where it is written."""
    folder.write("slo/objectives/all.yaml", OBJECTIVES.replace("objective: steps", "objective: pairing"))
    folder.change(SLOW, "ref: pairing", "ref: back")
    has(
        folder.refused(),
        "slo/objectives/all.yaml:13:19: spec.objective: expected an SLO, got the invariant pairing",
    )


# --- hosts


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.1:80", "runs may not touch the host 10.0.0.1\n  hint: allowed are 127.0.0.0/8, ::1"),
        ("http://example.com:80", "runs may not touch the host example.com"),
        ("http://localhost.evil.com:80", "runs may not touch the host localhost.evil.com"),
        ("http://2130706433:80", "runs may not touch the host \"2130706433\""),
        ("http://0x7f.1:80", "runs may not touch the host 0x7f.1"),
        ("http://[::ffff:10.0.0.1]:80", "runs may not touch the host ::ffff:10.0.0.1"),
        ("http://0.0.0.0:80", "runs may not touch the host 0.0.0.0"),
        ("http://127.0.0.1:0", "expected a port from 1 up, got 0"),
        ("http://127.0.0.1:99999", "expected a port up to 65535, got 99999"),
        ("http://127.0.0.1?x", "expected host:port, got http://127.0.0.1?x"),
        ("http://:80", "expected a host before the port"),
    ],
)  # fmt: skip
def test_hosts_outside_the_allow_list_are_refused(folder: Folder, has: Has, url: str, said: str) -> None:
    """The default is loopback only; names are not resolved, and disguised addresses are names."""
    folder.change(HERE, "http://127.0.0.1:8000", url)
    has(folder.refused(), f"{HERE}:6:24: spec.services.environment.url: {said}")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.9.9.9:1",
        "http://localhost:65535",
        "http://LOCALHOST",
        "http://[::1]:80",
        "http://[::ffff:127.0.0.1]",
    ],
)
def test_loopback_may_be_touched(folder: Folder, url: str) -> None:
    """Every way to write this machine's own address is allowed by default."""
    folder.change(HERE, "http://127.0.0.1:8000", url)
    folder.resolve()


def test_the_user_alone_widens_the_allow_list(folder: Folder, has: Has) -> None:
    """Networks, names and suffixes in brownout.yaml; a suffix is not the domain itself."""
    folder.change(HERE, "127.0.0.1:8000", "env.lab.internal:8000")
    folder.write(
        "brownout.yaml",
        "apiVersion: brownout/v1\nkind: Project\nallow_hosts: ['*.lab.internal', 10.1.0.0/16]\n",
    )
    folder.resolve()
    folder.change(HERE, "env.lab.internal", "10.1.2.3")
    folder.resolve()
    folder.change(HERE, "10.1.2.3", "lab.internal")
    has(
        folder.refused(),
        f"{HERE}:6:24: spec.services.environment.url: runs may not touch the host lab.internal",
    )


def test_proxies_and_toxiproxy_are_checked_too(folder: Folder, has: Has) -> None:
    """Upstreams, listens and the API's own address are hosts as well; ports and names do not clash."""
    folder.write(
        HERE,
        """
        apiVersion: brownout/v1
        kind: Target
        metadata: {name: here}
        spec:
          services:
            environment: {demo: environment}
          proxies:
            environment: {upstream: "127.0.0.1:5432"}
            db: {upstream: "10.0.0.1:5432", listen: ":7000"}
            cache: {upstream: "127.0.0.1:6379", listen: "127.0.0.1:7001"}
            queue: {upstream: "127.0.0.1:0", listen: "127.0.0.1:7001"}
          toxiproxy: http://10.0.0.2:8474
        """,
    )
    problems = folder.refused()
    has(problems, f"{HERE}:8:5: spec.proxies.environment: environment is a service too")
    has(problems, f"{HERE}:9:20: spec.proxies.db.upstream: runs may not touch the host 10.0.0.1")
    has(
        problems,
        f"{HERE}:9:45: spec.proxies.db.listen: expected a host before the port: none means every interface\n"
        "  hint: did you mean 127.0.0.1:7000?",
    )
    has(problems, f"{HERE}:11:23: spec.proxies.queue.upstream: expected a port from 1 up, got 0")
    has(problems, f"{HERE}:11:46: spec.proxies.queue.listen: 127.0.0.1:7001 is where cache listens")
    has(problems, f"{HERE}:12:14: spec.toxiproxy: runs may not touch the host 10.0.0.2")
    assert len(problems) == 6
