"""A plan as text: what will be touched, by what it is judged, and when what happens."""

from __future__ import annotations

import re

from chaos.documents.faults import TOXIC_TYPES
from chaos.documents.models import AbortAfter, AbortObjective, AbortRequests, AbortThreshold
from chaos.faults.layer7 import attributes_in_words, messages_in_words
from chaos.plan import Plan, PlannedDemo, PlannedFault, PlannedProcess, PlannedProxy, PlannedWorkload
from loadtests.arrivals import described
from loadtests.profile import LoadProfileSpec
from slo.effect import Effect, QuantileEffect
from slo.objective import PHASES, Filter, Invariant, Level, Quantile, Ratio, Recovery, Requirement
from slo.quantities import format_duration

_OPS = {"lte": "at most", "lt": "less than", "gte": "at least", "gt": "more than"}
_UNITS = {
    "rate": " kB/s",
    "bytes": " B",
    "average_size": " B",
    "size_variation": " B",
    "headroom_bytes": " B",
    "headroom_files": "",
    "leave": " B",
    "stopped": "%",
}


def plan_text(plan: Plan) -> str:
    """The whole plan, for a person."""
    total = format_duration(plan.cues[-1].at_s)
    lines = [f"experiment {plan.experiment} (seed {plan.seed}, {total})"]
    if plan.hypothesis:
        lines.append(f"  {plan.hypothesis}")
    sections = (
        (f"target {plan.target}", _touched(plan)),
        ("load", [*(_workload(workload) for workload in plan.workloads), *_workers(plan)]),
        ("faults", [line for fault in plan.faults for line in _fault(fault)]),
        ("objectives", [_requirement(requirement) for requirement in plan.requirements]),
        ("stops early when", _aborts(plan)),
        ("timeline", [_cue(cue.at_s, cue.action, cue.subject, plan) for cue in plan.cues]),
    )
    for title, rows in sections:
        if rows:
            lines += ["", title, *(f"  {row}" for row in rows)]
    lines += [
        "",
        f"A run that takes longer than {format_duration(plan.deadline_s)} is inconclusive; "
        f"a fault goes {format_duration(plan.lease_s)} after its conductor died.",
    ]
    return "\n".join(lines) + "\n"


def _touched(plan: Plan) -> list[str]:
    rows: list[str] = []
    for service in plan.services:
        if service.demo:
            rows.append(f"service {service.name}: {_demo(service.demo)}, started for the run")
        else:
            health = f", ready when {service.health} answers 200" if service.health else ""
            address = f"https://{service.address}" if service.scheme == "https" else service.address
            rows.append(f"service {service.name}: {address}, which runs already{health}")
    rows += [f"process {process.name}: {_process(process)}" for process in plan.processes]
    rows += [f"proxy {proxy.name}: {_proxy(proxy)}" for proxy in plan.proxies]
    if plan.toxiproxy:
        rows.append(f"proxies by the Toxiproxy at {plan.toxiproxy}")
    else:
        rows.append("proxies by the embedded proxy, started for the run")
    return rows


def _demo(demo: PlannedDemo) -> str:
    limits = [] if demo.sessions is None else [f"at most {demo.sessions} sessions"]
    if demo.session_timeout_s is not None:
        limits.append(f"idle ones are ended after {format_duration(demo.session_timeout_s)}")
    return f"the demo service {demo.service}" + (f" ({', '.join(limits)})" if limits else "")


def _process(process: PlannedProcess) -> str:
    also = [("disk", process.disk), ("hosts file", process.hosts_file)]
    return "; ".join([_which(process), *(f"{what} {path}" for what, path in also if path is not None)])


def _which(process: PlannedProcess) -> str:
    if process.command is not None:
        return f"`{' '.join(process.command)}` in {process.cwd}, started for the run"
    if process.compose is not None:
        return f"the containers of the compose service {process.compose}, which run already"
    again = f"; started again by `{' '.join(process.start)}`" if process.start else ""
    return f"the one whose pid is in {process.pid_file}{again}"


def _proxy(proxy: PlannedProxy) -> str:
    listen = proxy.listen.replace(":0", ", a free port") if proxy.listen.endswith(":0") else proxy.listen
    read = ", read as HTTP" if proxy.protocol == "http" else ""
    read += ", listening by TLS" if proxy.tls else ""
    read += f", trusted by {proxy.upstream_ca} too" if proxy.upstream_ca else ""
    read += "" if proxy.upstream_verify else ", trusted unseen"
    return f"{listen} -> " + (f"service {proxy.service}" if proxy.service else str(proxy.upstream)) + read


def _workers(plan: Plan) -> list[str]:
    """Who sends it, unless it is one process here."""
    if plan.master is not None:
        at = f"{plan.master.host}:{plan.master.port}"
        return [f"by {plan.master.workers} workers of other machines, which come to {at}"]
    return [f"by {plan.workers} processes, each with its share of the arrivals"] if plan.workers > 1 else []


def _workload(workload: PlannedWorkload) -> str:
    profile = workload.profile
    options = profile.with_.model_dump(mode="json", exclude_unset=True, by_alias=True)
    if isinstance(argv := options.get("argv"), list):
        options["argv"] = f"`{' '.join(map(str, argv))}`"
    shown = ", ".join(f"{key} {_option(value)}" for key, value in options.items())
    line = f"{workload.name}: {_who_comes(profile)} at {workload.place}" + (f" ({shown})" if shown else "")
    return "\n    ".join((line, *workload.notes))


def _who_comes(profile: LoadProfileSpec) -> str:
    if profile.arrivals is not None:
        return f"{described(profile.arrivals)} {profile.process} arrivals of {profile.user} users"
    if profile.users is not None:
        again = (
            f"again {format_duration(profile.pause)} after they are done"
            if profile.pause
            else "at once again"
        )
        return f"{profile.users} {profile.user} users, {again}"
    return f"{profile.user} users at their own times"


def _option(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)} of them"
    if isinstance(value, str) and re.fullmatch(r"[0-9.]+s", value):
        return format_duration(float(value[:-1]))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fault(fault: PlannedFault) -> list[str]:
    attributes = ", ".join(
        attributes_in_words(fault.type, fault.attributes)
        if fault.layer7
        else [f"{key} {_attribute(fault.type, key, value)}" for key, value in fault.numbers.items()]
    )
    where = f"{fault.type} at {fault.place}"
    if fault.host is not None:
        where += f": {fault.host}"
    if fault.signal == "TERM":
        where += ": SIGTERM"
    if fault.commands is not None:
        where += f": `{' '.join(fault.commands.inject)}`, healed by `{' '.join(fault.commands.heal)}`"
        if fault.commands.check is not None:
            where += f", in place while `{' '.join(fault.commands.check)}` succeeds"
    if fault.type in TOXIC_TYPES:
        share = (
            "all connections" if fault.toxicity >= 1 else f"{fault.toxicity * 100:.4g}% of the connections"
        )
        where += f", {fault.stream}, {share}"
    if fault.layer7:
        where += f", {fault.stream}, {messages_in_words(fault.where, fault.toxicity)}{_drawn(fault)}"
    rows = [f"{fault.name}: {where}" + (f": {attributes}" if attributes else "")]
    if fault.layer7 and not fault.effects:
        rows.append("  seen when the proxy counts that it struck one")
    rows += [f"  {'or ' if i else ''}seen when {_effect(effect)}" for i, effect in enumerate(fault.effects)]
    return rows


def _drawn(fault: PlannedFault) -> str:
    """By what the messages that it strikes are drawn, where that is said."""
    said = [f"named by {'header ' if key == 'header' else ''}{name}" for key, name in fault.id.items()]
    if fault.persist == "request":
        said.append("retries as their first try")
    return f", {', '.join(said)}" if said else ""


def _attribute(kind: str, key: str, value: int) -> str:
    if key in _UNITS:
        return f"{value}{_UNITS[key]}"
    return format_duration(value / 1e6 if kind == "slicer" else value / 1e3)


def _effect(effect: Effect) -> str:
    metric = _metric(effect.metric, effect.filters)
    if isinstance(effect, QuantileEffect):
        return f"{effect.quantile} of {metric} rises by {format_duration(effect.rises)}"
    return f"the share of {metric} with {effect.attribute} rises by {effect.rises * 100:.4g}%"


def _metric(name: str, filters: dict[str, Filter]) -> str:
    """A metric with the attributes that select its points."""
    parts = []
    for key, wanted in filters.items():
        if wanted is None:
            parts.append(f"{key} absent")
        else:
            parts.append(f"{key}={'|'.join(wanted) if isinstance(wanted, list) else wanted}")
    return f"{name} {{{', '.join(parts)}}}" if parts else name


def _requirement(requirement: Requirement) -> str:
    phases = ", ".join(requirement.phases) if len(requirement.phases) < len(PHASES) else "all phases"
    least = f", from {requirement.min_samples} samples" if requirement.min_samples > 1 else ""
    judged = f"{requirement.objective.name}: {_judged(requirement)}"
    return f"{judged} [{phases}{least}; runbook {requirement.runbook}]"


def _judged(requirement: Requirement) -> str:
    judged = requirement.objective
    if isinstance(judged, Invariant):
        return f"no violation of {judged.check}"
    if isinstance(judged, Recovery):
        windows = f"{judged.windows} windows of {format_duration(judged.window_s)}"
        return (
            f"{judged.objective.name} again within {format_duration(judged.within_s)} of the heal ({windows})"
        )
    indicator = judged.indicator
    unit = f" {judged.unit}" if judged.unit else ""
    if isinstance(indicator, Ratio):
        return f"at least {indicator.target * 100:.6g}% good of {indicator.total.metric}"
    if isinstance(indicator, Quantile):
        return (
            f"p{indicator.quantile * 100:g} of {indicator.source.metric} at most {indicator.at_most:g}{unit}"
        )
    level: Level = indicator
    return f"{level.aggregation} of {level.source.metric} {_OPS[level.op]} {level.bound:g}{unit}"


def _aborts(plan: Plan) -> list[str]:
    rows: list[str] = []
    for abort in plan.aborts:
        if isinstance(abort, AbortAfter):
            rows.append(f"{format_duration(abort.after)} have passed")
        elif isinstance(abort, AbortObjective):
            rows.append(f"the objective {abort.objective} is breached")
        elif isinstance(abort, AbortThreshold):
            rows.append(f"{_metric(abort.metric, abort.filters)} goes above {abort.above:g}")
        elif isinstance(abort, AbortRequests):
            rows.append(f"{abort.requests} requests were sent")
        else:
            rows.append(f"{abort.tokens} tokens were spent")
    return rows


def _cue(at_s: float, action: str, subject: str, plan: Plan) -> str:
    at = format_duration(at_s).rjust(8)
    if action == "end":
        return f"{at}  end: load stops, everything that was started is stopped"
    if action in ("inject", "heal"):
        fault = next(f for f in plan.faults if f.name == subject)
        return f"{at}    {action} {subject} ({fault.type} at {fault.place})"
    return f"{at}  phase {subject}"
