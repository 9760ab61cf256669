//! Routes: where they lead, and whether they can be reached.

use std::collections::BTreeMap;

use super::Check;
use crate::route::{MatchSettings, Settings};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut catches_all: Option<usize> = None;
    for (index, route) in file.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        if let Some(name) = &route.name {
            check.name(&format!("{path}.name"), "route", name);
            if let Some(first) = names.insert(name, index) {
                check.add(
                    &format!("{path}.name"),
                    format!("the name `{name}` is already that of routes[{first}]"),
                );
            }
        }
        if let Some(above) = catches_all {
            check.add(
                &path,
                format!(
                    "no request gets here: routes[{above}] above matches all of them; put it last"
                ),
            );
        } else if route.matches == MatchSettings::default() {
            catches_all = Some(index);
        }
        destination(check, &path, route);
    }
    if file.routes.is_empty() {
        check.add("routes", "there is no route: add one, such as `- pool: NAME`");
    }
}

fn destination(check: &mut Check<'_>, path: &str, route: &Settings) {
    let file = check.file;
    match (&route.pool, route.split.is_empty()) {
        (Some(_), false) => check.add_at_key(
            &format!("{path}.split"),
            "a route leads to a `pool` or to a `split`, not to both: remove one",
        ),
        (None, true) => check.add(path, "the route leads nowhere: add `pool: NAME` or a `split`"),
        _ => {}
    }
    if let Some(pool) = route.pool.as_ref().filter(|pool| !file.pools.contains_key(*pool)) {
        check.unknown_name(&format!("{path}.pool"), "pool", pool, file.pools.keys());
    }
    for (index, arm) in route.split.iter().enumerate() {
        let at = format!("{path}.split[{index}]");
        if !file.pools.contains_key(&arm.pool) {
            check.unknown_name(&format!("{at}.pool"), "pool", &arm.pool, file.pools.keys());
        }
        if route.split[..index].iter().any(|other| other.pool == arm.pool) {
            check.add(&at, format!("pool `{}` is already in this split", arm.pool));
        }
    }
    if !route.split.is_empty() && route.split.iter().all(|arm| arm.weight == 0) {
        check.add(
            &format!("{path}.split"),
            "every weight of the split is 0, so no pool takes traffic: give one a weight",
        );
    }
    if route.sticky && route.split.is_empty() {
        check.add_at_key(&format!("{path}.sticky"), "`sticky` has no effect without a `split`");
    }
    if route.model.as_deref() == Some("") {
        check.add(&format!("{path}.model"), "the model is empty: name one, or remove `model`");
    }
}
