//! One worker, and one on each of two cores.
//!
//! With two cores there is none left for the load. So load and upstream take their share of every core
//! that the proxy runs on, in both cases: everything is there twice or once.

use super::contestant::{Conditions, Contestant};
use super::measure::{Bench, Subject};
use super::peer::Name;
use super::stage::Stage;
use super::{Cores, Work};
use crate::process::Workspace;
use crate::stand::Settings;

/// What was found of one proxy, or why it could not be measured.
pub type Scaled = (Name, Result<Vec<Cores>, String>);

/// A proxy on its cores.
struct Place {
    contestant: Contestant,
    rounds: Vec<Work>,
}

/// Measures these proxies in turns on each set of cores.
pub fn run(
    settings: &Settings,
    names: &[Name],
    conditions: Conditions<'_>,
    (bench, rounds): (&Bench, u32),
    sets: &[&[usize]],
) -> Result<Vec<Scaled>, String> {
    let workspaces = sets.iter().map(|set| {
        let name = format!("cores-{}", set.len());
        conditions.workspace.part(&name).map_err(|error| format!("{name}: {error}"))
    });
    let workspaces: Vec<Workspace> = workspaces.collect::<Result<_, _>>()?;
    let mut stages = Vec::new();
    for (set, workspace) in sets.iter().zip(&workspaces) {
        stages.push(Stage::new(workspace, set)?);
    }
    let mut proxies: Vec<(Name, Result<Vec<Place>, String>)> = Vec::new();
    for &name in names {
        let mut places = Vec::new();
        for ((cores, workspace), stage) in sets.iter().zip(&workspaces).zip(&mut stages) {
            let conditions = Conditions { workspace, cores, ..conditions };
            let started = Contestant::start(name, settings, conditions, stage);
            places.push(started.map(|contestant| Place { contestant, rounds: Vec::new() }));
        }
        proxies.push((name, places.into_iter().collect()));
    }
    // The first round only warms up.
    for round in 0..=rounds {
        let count = proxies.len();
        for turn in 0..count {
            let (_, places) = &mut proxies[(turn + round as usize) % count];
            let Ok(known) = places else { continue };
            if let Err(why) = measure(bench, sets, known, round) {
                *places = Err(why);
            }
        }
    }
    let scaled = proxies.into_iter().map(|(name, places)| {
        let cores = places.map(|places| {
            let each = places.into_iter().zip(sets);
            each.map(|(place, set)| Cores { cores: set.len(), rounds: place.rounds }).collect()
        });
        (name, cores)
    });
    Ok(scaled.collect())
}

/// One round of a proxy: every set of its cores, another one first each time.
fn measure(
    bench: &Bench,
    sets: &[&[usize]],
    places: &mut [Place],
    round: u32,
) -> Result<(), String> {
    let count = places.len();
    for turn in 0..count {
        let at = (turn + round as usize) % count;
        let place = &mut places[at];
        let subject =
            Subject { target: &place.contestant.target, pid: Some(place.contestant.pid()) };
        let work = bench.requests_on(subject, sets[at])?;
        if round > 0 {
            place.rounds.push(work);
        }
    }
    Ok(())
}
