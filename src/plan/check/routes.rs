//! Routes: where they lead, and whether they can be reached.

use super::Check;
use crate::config::nearest;
use crate::dialect::Endpoint;
use crate::route::{MatchSettings, Pattern, Settings};

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    let mut catches_all: Option<usize> = None;
    for (index, route) in file.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
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
        endpoints(check, &format!("{path}.match.endpoint"), route.matches.endpoint.as_ref());
        if route.model.as_deref() == Some("") {
            check.add(&format!("{path}.model"), "the model is empty: name one, or remove `model`");
        }
    }
    if file.routes.is_empty() {
        check.add("routes", "there is no route: add one, such as `- pool: NAME`");
    }
}

fn destination(check: &mut Check<'_>, path: &str, route: &Settings) {
    let file = check.file;
    let single = route.pool.iter().map(|pool| (format!("{path}.pool"), pool));
    let arms = route.split.iter().enumerate();
    let arms = arms.map(|(index, arm)| (format!("{path}.split[{index}].pool"), &arm.pool));
    for (at, pool) in single.chain(arms) {
        if !file.pools.contains_key(pool) {
            check.unknown_name(&at, "pool", pool, file.pools.keys());
        }
    }
    for (index, arm) in route.split.iter().enumerate() {
        if route.split[..index].iter().any(|other| other.pool == arm.pool) {
            check.add(
                &format!("{path}.split[{index}]"),
                format!("pool `{}` is already in this split: add the weights up", arm.pool),
            );
        }
    }
}

/// Names that are nearly an endpoint's. The rest is the route's own room's to say.
fn endpoints(check: &mut Check<'_>, path: &str, pattern: Option<&Pattern>) {
    let texts = match pattern {
        None => return,
        Some(Pattern::One(text)) => vec![(path.to_owned(), text)],
        Some(Pattern::Any(texts)) => {
            let texts = texts.iter().enumerate();
            texts.map(|(index, text)| (format!("{path}[{index}]"), text)).collect()
        }
    };
    let names = || Endpoint::ALL.into_iter().map(Endpoint::as_str);
    for (at, text) in texts {
        let plain = !text.contains(['*', '?', '/']);
        if plain
            && names().all(|name| name != text)
            && let Some(near) = nearest(text, names())
        {
            check.add(&at, format!("no endpoint is called `{text}`: did you mean `{near}`?"));
        }
    }
}
