//! Pools: names that lead elsewhere, and settings that contradict each other.

use std::collections::BTreeMap;

use super::Check;
use crate::config::Size;
use crate::pool::{HashOn, HealthKind, Settings, Strategy};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    for (name, settings) in &file.pools {
        let path = format!("pools.{name}");
        check.name(&path, "pool", name);
        targets(check, &path, settings);
        timeouts(check, &path, settings);
        health(check, &path, settings);
        hash(check, &path, settings);
        if settings.hedge.is_some() && settings.targets.len() < 2 {
            check.add_at_key(
                &format!("{path}.hedge"),
                "hedging needs a second target to go to: add one, or remove `hedge`",
            );
        }
        fallbacks(check, &path, settings);
    }
    cycles(check);
}

fn targets(check: &mut Check<'_>, path: &str, settings: &Settings) {
    let file = check.file;
    for (index, target) in settings.targets.iter().enumerate() {
        let at = format!("{path}.targets[{index}]");
        if !file.providers.contains_key(&target.provider) {
            check.unknown_name(
                &format!("{at}.provider"),
                "provider",
                &target.provider,
                file.providers.keys(),
            );
        }
        if target.model.as_deref() == Some("") {
            check.add(&format!("{at}.model"), "the model is empty: name one, or remove `model`");
        }
    }
    if !settings.targets.is_empty() && settings.targets.iter().all(|target| target.weight == 0) {
        check.add(
            &format!("{path}.targets"),
            format!(
                "every target of {path} has weight 0, so none takes traffic: give one a weight"
            ),
        );
    }
}

fn timeouts(check: &mut Check<'_>, path: &str, settings: &Settings) {
    let times = settings.timeouts;
    let each = [
        ("connect", times.connect),
        ("first_token", times.first_token),
        ("inter_token", times.inter_token),
    ];
    for (name, time) in each {
        if time > times.total {
            let at = format!("{path}.timeouts.{name}");
            check.add(
                &at,
                format!(
                    "{at} is {time}, longer than `total` ({}): it could never pass",
                    times.total
                ),
            );
        }
    }
}

/// A check that asks a model for a token has to know which model.
fn health(check: &mut Check<'_>, path: &str, settings: &Settings) {
    let file = check.file;
    let kind = settings.health.as_ref().and_then(|health| health.kind);
    if kind != Some(HealthKind::Completion) {
        return;
    }
    for (index, target) in settings.targets.iter().enumerate() {
        let provider = file.providers.get(&target.provider);
        let none = provider.is_some_and(|provider| provider.probe_model.is_none());
        if none && target.model.is_none() {
            check.add(
                &format!("{path}.targets[{index}]"),
                format!(
                    "a health check of kind `completion` needs a model: give this target a \
                     `model`, or provider `{}` a `probe_model`",
                    target.provider
                ),
            );
        }
    }
}

fn hash(check: &mut Check<'_>, path: &str, settings: &Settings) {
    let at = format!("{path}.hash_on");
    if settings.strategy != Strategy::Hash && settings.hash_on != HashOn::Caller {
        check.add_at_key(&at, "`hash_on` has no effect without `strategy: hash`");
    }
    match &settings.hash_on {
        HashOn::Header(name) if http::HeaderName::from_bytes(name.as_bytes()).is_err() => {
            check.add(&format!("{at}.header"), format!("`{name}` is not the name of a header"));
        }
        HashOn::PromptPrefix(Size(0)) => {
            check.add(&format!("{at}.prompt_prefix"), "a prefix of 0 bytes is the same for all");
        }
        _ => {}
    }
}

fn fallbacks(check: &mut Check<'_>, path: &str, settings: &Settings) {
    let file = check.file;
    for (index, fallback) in settings.fallback.iter().enumerate() {
        if !file.pools.contains_key(fallback) {
            let at = format!("{path}.fallback[{index}]");
            check.unknown_name(&at, "pool", fallback, file.pools.keys());
        }
    }
}

/// A chain of fallbacks that comes back to where it began. Each cycle is reported once, at the pool
/// of it that is first by name.
fn cycles(check: &mut Check<'_>) {
    let file = check.file;
    for start in file.pools.keys() {
        if let Some((index, chain)) = cycle_from(&file.pools, start)
            && chain.iter().all(|pool| *pool >= start.as_str())
        {
            check.add(
                &format!("pools.{start}.fallback[{index}]"),
                format!(
                    "fallbacks go round in a circle: {}; remove one of them",
                    chain.join(" → ")
                ),
            );
        }
    }
}

/// The shortest way from `start` back to itself through two pools or more, and which of its
/// fallbacks begins it.
fn cycle_from<'p>(
    pools: &'p BTreeMap<String, Settings>,
    start: &'p str,
) -> Option<(usize, Vec<&'p str>)> {
    let fallbacks = |pool: &str| {
        let settings = pools.get(pool);
        settings.into_iter().flat_map(|settings| settings.fallback.iter().map(String::as_str))
    };
    let mut reached: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next: Vec<&str> = vec![start];
    while !next.is_empty() {
        let mut further = Vec::new();
        for from in next {
            for to in fallbacks(from).filter(|to| *to != from) {
                if to == start {
                    let mut chain = vec![start, from];
                    while let Some(before) = reached.get(chain[chain.len() - 1]) {
                        chain.push(before);
                    }
                    chain.reverse();
                    let index = fallbacks(start).position(|pool| pool == chain[1])?;
                    return Some((index, chain));
                }
                if !reached.contains_key(to) {
                    reached.insert(to, from);
                    further.push(to);
                }
            }
        }
        next = further;
    }
    None
}
