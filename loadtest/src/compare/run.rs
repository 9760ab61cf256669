//! The run: who is up, whose turn it is, and what was found so far.

use std::time::{Duration, Instant};

use super::contestant::{Conditions, Contestant, Target};
use super::cores::{self, Spot};
use super::figures::curve;
use super::measure::{Bench, Subject};
use super::memory::{Memory, Seen, Watch};
use super::peer::Name;
use super::stage::Stage;
use super::{Curves, Findings, LeftOut, Part, Plan, Proxy, Requests, Syscalls, syscalls};
use crate::drive::Stats;
use crate::process::{Workspace, resident_bytes};
use crate::report::machine::{Machine, busy};
use crate::stand::Settings;

/// Pace of the streams that are measured at a pace.
const PACE: Duration = Duration::from_millis(5);
/// Connections at which system calls are counted.
const SYSCALL_CONNECTIONS: usize = 64;
/// Time for connections to close before memory is looked at for the last time.
const CALM: Duration = Duration::from_secs(1);

/// A proxy, or the upstream itself, and what was found of it.
struct Entry {
    target: Target,
    running: Option<Contestant>,
    proxy: Proxy,
    kept: Kept,
}

/// Histograms over all rounds.
#[derive(Default)]
struct Kept {
    whole: Stats,
    first: Stats,
    full_speed: Stats,
    paced: Stats,
}

impl Entry {
    fn subject(&self) -> Subject<'_> {
        Subject { target: &self.target, pid: self.running.as_ref().map(Contestant::pid) }
    }

    fn is_direct(&self) -> bool {
        self.running.is_none()
    }
}

struct Run<'a> {
    plan: &'a Plan,
    bench: Bench,
    workspace: &'a Workspace,
    stage: Stage,
    /// The first is the upstream without a proxy.
    entries: Vec<Entry>,
    left_out: Vec<LeftOut>,
    notes: Vec<String>,
}

/// Measures everything, round after round.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let began = Instant::now();
    let machine = Machine::here();
    raise_descriptors();
    let workspace = settings.workspace()?;
    let mut run = Run::start(settings, plan, &workspace)?;
    let watch = Watch::start(run.pids(), plan.load_core)?;
    for round in 0..plan.rounds() {
        eprintln!("round {} of {}", round + 1, plan.rounds());
        run.round(round)?;
    }
    if plan.has(Part::Syscalls) {
        run.syscalls()?;
    }
    if plan.has(Part::Cores) {
        run.cores(settings)?;
    }
    std::thread::sleep(CALM);
    run.remember(watch.finish());
    let mut proxies: Vec<Proxy> = run.entries.into_iter().map(finished).collect();
    let direct = proxies.remove(0);
    Ok(Findings {
        machine,
        rounds: plan.rounds(),
        length_s: plan.length().as_secs_f64(),
        proxy_core: plan.proxy_core,
        load_core: plan.load_core,
        took_s: began.elapsed().as_secs_f64(),
        direct,
        proxies,
        left_out: run.left_out,
        notes: run.notes,
    })
}

impl<'a> Run<'a> {
    /// Starts everybody who is there.
    fn start(
        settings: &Settings,
        plan: &'a Plan,
        workspace: &'a Workspace,
    ) -> Result<Self, String> {
        let stage = Stage::new(workspace, &[plan.load_core])?;
        let direct = Entry {
            target: Target { address: stage.address, headers: Vec::new() },
            running: None,
            proxy: Proxy { name: "direct".into(), ..Proxy::default() },
            kept: Kept::default(),
        };
        let bench = Bench {
            length: plan.length(),
            step: if plan.quick { Duration::from_millis(500) } else { Duration::from_millis(1500) },
            tries: if plan.quick { 2 } else { 4 },
            hold: if plan.quick { Duration::from_secs(1) } else { Duration::from_secs(3) },
            core: plan.load_core,
        };
        let mut run = Self {
            plan,
            bench,
            workspace,
            stage,
            entries: vec![direct],
            left_out: Vec::new(),
            notes: busy().into_iter().collect(),
        };
        // Those that ask for the upstream's health first, while a stand-in answers that.
        let (early, late): (Vec<Name>, Vec<Name>) =
            plan.with.iter().partition(|name| name.peer().is_some_and(|peer| peer.asks_health));
        for name in early.into_iter().chain(late) {
            run.admit(name, settings);
        }
        run.order();
        run.warm_up()?;
        Ok(run)
    }

    /// Starts one proxy, or says why it takes no part.
    fn admit(&mut self, name: Name, settings: &Settings) {
        let core = [self.plan.proxy_core];
        let conditions = conditions(self.plan, self.workspace, &core);
        match Contestant::start(name, settings, conditions, &mut self.stage) {
            Ok(contestant) => self.entries.push(Entry {
                target: contestant.target.clone(),
                proxy: Proxy {
                    name: name.as_str().into(),
                    version: contestant.version.clone(),
                    does: contestant.does.into(),
                    memory: Memory { idle_bytes: contestant.idle_bytes, ..Memory::default() },
                    ..Proxy::default()
                },
                running: Some(contestant),
                kept: Kept::default(),
            }),
            Err(why) => self.leave_out(name.as_str(), why),
        }
    }

    fn leave_out(&mut self, name: &'static str, why: String) {
        eprintln!("{name} is left out: {why}");
        self.left_out.push(LeftOut { name, why });
    }

    /// Tables have everybody in the order that was asked for.
    fn order(&mut self) {
        let place = |entry: &Entry| {
            let name = entry.running.as_ref().map(|contestant| contestant.name);
            name.and_then(|name| self.plan.with.iter().position(|one| *one == name))
        };
        self.entries.sort_by_key(place);
    }

    fn warm_up(&mut self) -> Result<(), String> {
        self.play(Duration::ZERO)?;
        let whole = [Part::Requests, Part::Frontier, Part::Memory];
        let streams = self.plan.parts.iter().any(|part| !whole.contains(part));
        self.each(0, "warm-up", |bench, entry| bench.warm_up(entry.subject(), streams))
    }

    /// Has the upstream send at this pace, and lets everybody notice.
    fn play(&mut self, pace: Duration) -> Result<(), String> {
        self.stage.play(pace)?;
        for entry in &self.entries {
            self.bench.settle(&entry.target)?;
        }
        Ok(())
    }

    /// A turn for everybody, another one first each round. Who fails is left out from then on; that
    /// the upstream itself fails ends the run.
    fn each(
        &mut self,
        round: u32,
        what: &str,
        mut turn: impl FnMut(&Bench, &mut Entry) -> Result<(), String>,
    ) -> Result<(), String> {
        let count = self.entries.len();
        let mut failed: Vec<(usize, String)> = Vec::new();
        for place in 0..count {
            let index = (place + round as usize) % count;
            if let Err(why) = turn(&self.bench, &mut self.entries[index]) {
                failed.push((index, format!("{what}: {why}")));
            }
        }
        // From the last to the first, so that the places of those before stay what they are.
        failed.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, why) in failed {
            let Some(name) = self.entries[index].running.as_ref().map(|running| running.name)
            else {
                return Err(format!("the simulated upstream, without a proxy: {why}"));
            };
            self.entries.remove(index);
            self.leave_out(name.as_str(), why);
        }
        Ok(())
    }

    fn round(&mut self, round: u32) -> Result<(), String> {
        let plan = self.plan;
        self.play(Duration::ZERO)?;
        if plan.has(Part::Requests) {
            for &connections in &plan.connections {
                let what = format!("{connections} connections");
                self.each(round, &what, |bench, entry| requests(bench, entry, connections))?;
            }
        }
        if plan.has(Part::Streams) {
            self.each(round, "streams at full speed", |bench, entry| {
                let (streams, stats) = bench.full_speed(entry.subject())?;
                entry.proxy.full_speed.push(streams);
                entry.kept.full_speed.merge(&stats);
                Ok(())
            })?;
        }
        if plan.has(Part::Latency) {
            self.each(round, "one request at a time", |bench, entry| {
                let (latency, stats) = bench.latency(entry.subject())?;
                entry.proxy.latency.push(latency);
                entry.kept.whole.merge(&stats);
                Ok(())
            })?;
        }
        if plan.searches(Part::Frontier, round) {
            self.each(round, "throughput under a bound", |bench, entry| {
                if round == 0 || !entry.is_direct() {
                    entry.proxy.frontier.push(bench.frontier(&entry.target)?);
                }
                Ok(())
            })?;
        }
        if plan.has(Part::Streams) {
            self.play(PACE)?;
            self.each(round, "streams at a pace of 5 ms", |bench, entry| {
                let (streams, stats) = bench.paced(entry.subject())?;
                entry.proxy.paced.push(streams);
                entry.kept.paced.merge(&stats);
                Ok(())
            })?;
        }
        if plan.has(Part::Latency) {
            self.play(PACE)?;
            self.each(round, "first tokens", |bench, entry| {
                let (latency, stats) = bench.first_token(entry.subject())?;
                entry.proxy.first_token.push(latency);
                entry.kept.first.merge(&stats);
                Ok(())
            })?;
        }
        if plan.searches(Part::Sustained, round) {
            self.sustained(round)?;
        }
        Ok(())
    }

    /// Nobody can be shown to sustain more than the load and the upstream do by themselves.
    fn sustained(&mut self, round: u32) -> Result<(), String> {
        self.play(super::measure::SUSTAINED_PACE)?;
        let direct = &mut self.entries[0];
        let limit = match direct.proxy.sustained.first() {
            Some(limit) => *limit,
            None => self.bench.sustained(&direct.target, self.plan.streams_max())?,
        };
        direct.proxy.sustained = vec![limit];
        self.each(round, "streams at a pace of 20 ms", |bench, entry| {
            if !entry.is_direct() {
                entry.proxy.sustained.push(bench.sustained(&entry.target, limit)?);
            }
            Ok(())
        })
    }

    /// Counts system calls, unless that cannot be done here.
    fn syscalls(&mut self) -> Result<(), String> {
        let workspace = self.workspace;
        let mut why = None;
        self.play(Duration::ZERO)?;
        self.each(0, "system calls", |bench, entry| {
            let subject = entry.subject();
            let (Some(pid), None) = (subject.pid, &why) else { return Ok(()) };
            let (calls, work) =
                syscalls::count(pid, workspace, || bench.requests(subject, SYSCALL_CONNECTIONS))?;
            let (frames, streams) = syscalls::count(pid, workspace, || bench.full_speed(subject))?;
            match calls.and_then(|calls| Ok((calls, frames?))) {
                Ok((calls, frames)) => {
                    entry.proxy.syscalls = Some(Syscalls {
                        request: calls as f64 / work.requests as f64,
                        frame_full_speed: frames as f64 / streams.0.frames as f64,
                        frame_paced: 0.0,
                    });
                }
                Err(error) => why = Some(error),
            }
            Ok(())
        })?;
        if let Some(why) = why {
            eprintln!("system calls are not counted: {why}");
            self.notes.push(format!("System calls were not counted: {why}."));
            return Ok(());
        }
        self.play(PACE)?;
        self.each(0, "system calls", |bench, entry| {
            let subject = entry.subject();
            let Some(pid) = subject.pid else { return Ok(()) };
            let (frames, streams) = syscalls::count(pid, workspace, || bench.paced(subject))?;
            if let (Some(syscalls), Ok(frames)) = (&mut entry.proxy.syscalls, frames) {
                syscalls.frame_paced = frames as f64 / streams.0.frames as f64;
            }
            Ok(())
        })
    }

    /// Has those who can run several workers do so. The others wait meanwhile.
    fn cores(&mut self, settings: &Settings) -> Result<(), String> {
        let both = [self.plan.proxy_core, self.plan.load_core];
        if both[0] == both[1] {
            self.notes.push("One core was not compared with two: there is only one.".into());
            return Ok(());
        }
        eprintln!("one core and two");
        let running = self.entries.iter().filter_map(|entry| entry.running.as_ref());
        let names: Vec<Name> =
            running.map(|running| running.name).filter(|name| name.scales()).collect();
        let conditions = conditions(self.plan, self.workspace, &[]);
        let how = (&self.bench, self.plan.rounds());
        let [one, other] = [&both[..1], &both[1..]];
        let spots = [
            Spot { proxy: one, load: other },
            Spot { proxy: one, load: one },
            Spot { proxy: &both, load: &both },
        ];
        let scaled = cores::run(settings, &names, conditions, how, &spots)?;
        for (name, found) in scaled {
            let entry = self.entries.iter_mut().find(|entry| entry.proxy.name == name.as_str());
            match (entry, found) {
                (Some(entry), Ok(cores)) => entry.proxy.cores = cores,
                (_, Err(why)) => {
                    self.notes.push(format!("{} on one core and two: {why}", name.as_str()));
                }
                (None, Ok(_)) => {}
            }
        }
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        self.entries.iter().filter_map(|entry| entry.subject().pid).collect()
    }

    /// Files what was seen of memory with those who are still there.
    fn remember(&mut self, mut seen: Vec<Seen>) {
        for entry in &mut self.entries {
            let Some(pid) = entry.subject().pid else { continue };
            let samples = seen.iter_mut().find(|(of, _)| *of == pid);
            let samples = samples.map(|(_, samples)| std::mem::take(samples)).unwrap_or_default();
            let most = samples.iter().map(|sample| sample[1] as u64).max().unwrap_or_default();
            entry.proxy.memory = Memory {
                idle_bytes: entry.proxy.memory.idle_bytes,
                loaded_bytes: most,
                after_bytes: resident_bytes(pid).unwrap_or_default(),
                samples,
            };
        }
    }
}

fn conditions<'c>(plan: &'c Plan, workspace: &'c Workspace, cores: &'c [usize]) -> Conditions<'c> {
    let streams_max = plan.streams_max();
    Conditions { programs: &plan.programs, workspace, cores, streams_max }
}

fn requests(bench: &Bench, entry: &mut Entry, connections: usize) -> Result<(), String> {
    if entry.is_direct() {
        return Ok(());
    }
    let work = bench.requests(entry.subject(), connections)?;
    let known = &mut entry.proxy.requests;
    match known.iter_mut().find(|requests| requests.connections == connections) {
        Some(requests) => requests.rounds.push(work),
        None => known.push(Requests { connections, rounds: vec![work] }),
    }
    Ok(())
}

/// What was found, with the distributions in the form that is kept.
fn finished(entry: Entry) -> Proxy {
    let Entry { mut proxy, kept, .. } = entry;
    let count = |latencies: crate::drive::Quantiles| latencies.count;
    proxy.curves = Curves {
        whole: curve(count(kept.whole.total.quantiles()), |share| kept.whole.total.at(share)),
        first: curve(count(kept.first.ttft.quantiles()), |share| kept.first.ttft.at(share)),
        gap_full_speed: curve(count(kept.full_speed.frame_gap.quantiles()), |share| {
            kept.full_speed.frame_gap.at(share)
        }),
        gap_paced: curve(count(kept.paced.frame_gap.quantiles()), |share| {
            kept.paced.frame_gap.at(share)
        }),
    };
    proxy
}

/// Thousands of streams need two descriptors each, here and in the proxies, which inherit the limit.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("weir-loadtest: the limit of descriptors stays as it is: {error}");
    }
}
