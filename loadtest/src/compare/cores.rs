//! One worker, and one on each of two cores.
//!
//! With two cores there is none left for the load, which then takes its share of both. So two workers are
//! compared by their CPU per request with one that has a core to itself, and by their requests a second
//! with one that shares its core with load and upstream, as both of the two do.

use super::contestant::{Conditions, Contestant};
use super::measure::{Bench, Subject};
use super::peer::Name;
use super::stage::Stage;
use super::{Cores, Work};
use crate::process::Workspace;
use crate::stand::Settings;

/// What was found of one proxy, or why it could not be measured.
pub type Scaled = (Name, Result<Vec<Cores>, String>);

/// The cores of a proxy, and those of load and upstream.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// With a worker on each.
    pub proxy: &'a [usize],
    /// With a thread of the load and one of the upstream on each.
    pub load: &'a [usize],
}

/// A proxy on its cores.
struct Place {
    contestant: Contestant,
    rounds: Vec<Work>,
}

/// Measures these proxies in turns at each spot.
pub fn run(
    settings: &Settings,
    names: &[Name],
    conditions: Conditions<'_>,
    (bench, rounds): (&Bench, u32),
    spots: &[Spot<'_>],
) -> Result<Vec<Scaled>, String> {
    let workspaces = (0..spots.len()).map(|at| {
        let name = format!("cores-{at}");
        conditions.workspace.part(&name).map_err(|error| format!("{name}: {error}"))
    });
    let workspaces: Vec<Workspace> = workspaces.collect::<Result<_, _>>()?;
    let mut stages = Vec::new();
    for (spot, workspace) in spots.iter().zip(&workspaces) {
        stages.push(Stage::new(workspace, spot.load)?);
    }
    let mut proxies: Vec<(Name, Result<Vec<Place>, String>)> = Vec::new();
    for &name in names {
        let mut places = Vec::new();
        for ((spot, workspace), stage) in spots.iter().zip(&workspaces).zip(&mut stages) {
            let conditions = Conditions { workspace, cores: spot.proxy, ..conditions };
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
            if let Err(why) = measure(bench, spots, known, round) {
                *places = Err(why);
            }
        }
    }
    let scaled = proxies.into_iter().map(|(name, places)| {
        let cores = places.map(|places| {
            let each = places.into_iter().zip(spots);
            each.map(|(place, spot)| Cores {
                count: spot.proxy.len(),
                shared: spot.load.iter().any(|core| spot.proxy.contains(core)),
                rounds: place.rounds,
            })
            .collect()
        });
        (name, cores)
    });
    Ok(scaled.collect())
}

/// One round of a proxy: every spot, another one first each time.
fn measure(
    bench: &Bench,
    spots: &[Spot<'_>],
    places: &mut [Place],
    round: u32,
) -> Result<(), String> {
    let count = places.len();
    for turn in 0..count {
        let at = (turn + round as usize) % count;
        let place = &mut places[at];
        let subject =
            Subject { target: &place.contestant.target, pid: Some(place.contestant.pid()) };
        let work = bench.requests_on(subject, spots[at].load)?;
        if round > 0 {
            place.rounds.push(work);
        }
    }
    Ok(())
}
