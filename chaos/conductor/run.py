"""One run: set up what the plan needs, perform it, take everything down again, leave a folder to judge."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chaos import __version__
from chaos import hits as hits_file
from chaos.conductor.command_faults import CommandFaults
from chaos.conductor.commands import CommandLoad, Generator, Generators, generators
from chaos.conductor.faults import Carrier, KeptFaults
from chaos.conductor.hits import HitRecord
from chaos.conductor.interrupts import Interrupts
from chaos.conductor.load import LocustLoad
from chaos.conductor.machines import WORKER_LEASE_S, RemoteLoad
from chaos.conductor.perform import Performance, Stopped
from chaos.conductor.places import Places
from chaos.conductor.ports import WallClock
from chaos.conductor.process_faults import ProcessFaults
from chaos.conductor.processes import Processes
from chaos.conductor.proxied import ProxyFaults, toxic_of
from chaos.conductor.ready import NotReady, healthy, wait_until
from chaos.conductor.stage import Stage
from chaos.conductor.telemetry import Telemetry
from chaos.documents.faults import PROCESS_TYPES
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.guard import Guard
from chaos.journal import (
    Journal,
    LoadReady,
    PartDied,
    RunEnded,
    RunStarted,
    ServiceReady,
    SetupFailed,
    outstanding,
)
from chaos.judge import judge_baseline
from chaos.plan import Plan, PlannedFault, PlannedService
from chaos.progress import Progress
from chaos.proxy.certificates import upstream_context
from chaos.registry import TargetBusy, target_lock
from chaos.verdict import Ending
from loadtests.profile import LoadPlan, Workload
from slo.finding import Finding, Window
from slo.series import Samples

HEALTH_WITHIN_S = 30.0


class Run:
    """One performance of a plan, and its folder."""

    def __init__(
        self,
        plan: Plan,
        *,
        name: str,
        folder: Path,
        experiment_yaml: str,
        repeat: str,
        stage: Stage,
        interrupts: Interrupts,
        progress: Progress,
        tell: Callable[[str], None] | None = None,
        watch: Callable[[Performance, Samples, float], None] | None = None,
        worker_token: str = "",
    ) -> None:
        """`watch` looks on every 100 ms while it is performed, and may raise Stopped to end it."""
        self.plan = plan
        self._worker_token = worker_token
        self.name = name
        self.folder = folder
        self.stage = stage
        self._repeat = repeat
        self._interrupts = interrupts
        self._progress = progress
        self._watch = watch
        self._clock = WallClock()
        self._guard = Guard(plan)
        self._began = self._clock.now()
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text(experiment_yaml)
        (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True, indent=2))
        self.journal = Journal(folder / "events.jsonl", self._clock.now, tell)
        self.telemetry = Telemetry(folder / "metrics.jsonl")

    def conduct(self) -> Ending:
        """Set up, perform, take down. Whatever happens, faults are healed and the folder can be judged."""
        self.stage.registration.add_run(self.folder)
        self.journal.record(
            RunStarted(run=self.name, version=__version__, pid=os.getpid(), repeat=self._repeat)
        )
        self.stage.receiver.subscribe(self.telemetry.receive)
        try:
            ending = self._with_target()
            self.journal.record(RunEnded(ending=ending))
        finally:
            self.telemetry.close()
            if outstanding(self.journal.events):
                self.stage.unhealed.append(self.journal.path)
            self.journal.close()
        return ending

    def _with_target(self) -> Ending:
        try:
            with target_lock(self.plan.target, self.name):
                return self._set_up_and_perform()
        except Stopped as stopped:
            if stopped.event is not None:
                self.journal.record(stopped.event)
            return stopped.ending
        except (TargetBusy, NotReady, OSError) as error:
            self.journal.record(SetupFailed(reason=str(error)))
            return "setup-failed"

    def _set_up_and_perform(self) -> Ending:
        places = Places(self.plan, self.name, self.stage, self.journal, self.folder / "logs")
        hits: HitRecord | None = None
        processes = Processes(self.plan, self.stage, self.folder)
        try:
            processes.start()
            for service in self.plan.services:
                if service.demo:
                    self.stage.start_demo(service.demo)  # all at once: each takes seconds to import
            places.start_server()
            for service in self.plan.services:
                address = self._service_ready(service)
                self.journal.record(ServiceReady(service=service.name, address=address))
                tls = service.scheme == "https"
                places.upstreams[service.name] = f"https://{address}" if tls else address
            places.open()
            hits = self._hit_record(places)
            if hits is not None:
                hits.begin()
            load = self._generators(self._load_plan(places))
            load.start()
            try:
                load.wait_ready(self._check_set_up)
            except BaseException:
                load.stop()
                raise
            self.journal.record(LoadReady())
            return self._perform(places, processes, load)
        finally:
            with ExitStack() as last_first:
                last_first.callback(processes.close)
                last_first.callback(places.close)
                if hits is not None:
                    last_first.callback(hits.close)

    def _generators(self, plan: LoadPlan) -> Generators:
        """Locust processes for simulated users, another process for programs."""
        return generators(
            plan,
            locust=self._locusts,
            commands=lambda own: CommandLoad(self.stage, own, self.folder, telemetry=self.telemetry),
        )

    def _hit_record(self, places: Places) -> HitRecord | None:
        """What follows what is struck, where something may be."""
        faults = [fault for fault in self.plan.faults if fault.layer7]
        if not faults or not places.server.embedded:
            return None
        return HitRecord(
            self.folder / hits_file.FILE,
            ToxiproxyServer(places.server.url),  # its own: the other's open connection is for an injection
            names={fault.place: places.names[fault.place] for fault in faults},
            faults={toxic_of(self.name, fault.name): fault.name for fault in faults},
            journal=self.journal,
        )

    def _service_ready(self, service: PlannedService) -> str:
        if service.demo is not None:
            return self.stage.demo_address(service.demo, self._check_set_up)
        address, path = service.address, service.health
        if address is None:
            raise NotReady(f"service {service.name} has no address")
        if path is not None:
            context = self._trusted(service)

            def ready() -> bool:
                self._check_set_up()
                return healthy(address, path, context)

            what = f"service {service.name} ({service.scheme}://{address}{path})"
            wait_until(what, ready, within_s=HEALTH_WITHIN_S)
        return address

    def _trusted(self, service: PlannedService) -> ssl.SSLContext | None:
        """How an https service is asked: it is trusted as its proxy trusts it."""
        if service.scheme == "http":
            return None
        proxy = next(proxy for proxy in self.plan.proxies if proxy.service == service.name)
        try:
            return upstream_context(proxy.upstream_ca or "", verify=proxy.upstream_verify)
        except ValueError as error:
            raise NotReady(f"service {service.name}: {error}") from error

    def _load_plan(self, places: Places) -> LoadPlan:
        return LoadPlan(
            run=self.name,
            seed=self.plan.seed,
            workloads=tuple(
                Workload(name=w.name, url=f"http://{places.address(w.place)}", profile=w.profile)
                for w in self.plan.workloads
            ),
            boundaries=self.plan.boundaries,
            otlp_endpoint=self.stage.receiver.endpoint,
            history=str(self.folder / "history"),
        )

    def _locusts(self, plan: LoadPlan) -> Generator:
        """Processes on this machine, or on those that come with the token."""
        if self.plan.master is not None:
            return RemoteLoad(
                self.stage,
                plan,
                self.folder,
                telemetry=self.telemetry,
                journal=self.journal,
                master=self.plan.master,
                token=self._worker_token,
                lease_s=min(self.plan.lease_s, WORKER_LEASE_S),
            )
        return LocustLoad(
            self.stage,
            plan,
            self.folder,
            telemetry=self.telemetry,
            journal=self.journal,
            workers=self.plan.workers,
        )

    def _perform(self, places: Places, processes: Processes, load: Generators) -> Ending:
        faults = KeptFaults(
            self._carriers(places, processes),
            self.stage.keeper,
            run=self.name,
            journal=self.journal.path,
            own_proxy=places.own_process,
            took_along=places.took_along,
        )
        performance = Performance(
            self.plan,
            clock=self._clock,
            faults=faults,
            load=load,
            journal=self.journal,
            look=self._look(places, load),
            judge_baseline=self._judge_baseline,
            wake=self._interrupts.wake,
        )
        try:
            ending = performance.perform()
        except OSError as error:  # what cannot be journalled cannot be judged; the faults are healed
            raise Stopped("part-died", PartDied(part="journal", reason=str(error))) from error
        if ending == "completed":
            self.stage.check()  # what died since we last looked
        return ending

    def _carriers(self, places: Places, processes: Processes) -> Callable[[PlannedFault], Carrier]:
        """What carries each fault: a proxy, a process, or a command."""
        lease = Lease(holder=self.name, ttl_ms=round(self.plan.lease_s * 1000))
        proxied = ProxyFaults(
            places.server, run=self.name, names=places.names, lease=lease, seed=self.plan.seed
        )
        of_processes, by_command = ProcessFaults(processes, self.folder), CommandFaults()

        def carrier(fault: PlannedFault) -> Carrier:
            if fault.commands is not None:
                return by_command
            return of_processes if fault.type in PROCESS_TYPES else proxied

        return carrier

    def _judge_baseline(self, window: Window) -> tuple[bool, tuple[Finding, ...]]:
        with self.telemetry.reading() as samples:
            return judge_baseline(self.plan, samples, window)

    def _look(self, places: Places, load: Generators) -> Callable[[Performance], None]:
        def look(performance: Performance) -> None:
            self._check_set_up()
            load.check()
            self._check_proxy(places, performance)
            now = self._clock.now()
            if now - self._began > self.plan.deadline_s:
                raise Stopped("overran")
            phase, started = performance.phase, performance.started
            since = performance.phase_started[phase] if phase else started
            with self.telemetry.reading() as samples:
                met = self._guard.check(samples, started, phase, since, now)
                if met is not None:
                    raise Stopped("condition", met)
                self._progress.update(
                    samples,
                    started=started,
                    phase=phase,
                    phase_started=since,
                    active=tuple(performance.active),
                    now=now,
                )
                if self._watch is not None:
                    self._watch(performance, samples, now)

        return look

    def _check_proxy(self, places: Places, performance: Performance) -> None:
        """A fault that its proxy has dropped, or cannot be asked about, cannot be judged."""
        try:
            places.check()
            lost = places.lost(performance.on_server())
        except OSError as error:
            raise Stopped("part-died", PartDied(part="proxy", reason=str(error))) from error
        if lost is not None:
            raise Stopped("part-died", PartDied(part="proxy", reason=lost))

    def _check_set_up(self) -> None:
        self._interrupts.check()
        self.stage.check()
        if self.telemetry.problem is not None:
            raise Stopped("part-died", PartDied(part="receiver", reason=self.telemetry.problem))
