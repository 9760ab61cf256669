//! Providers: what their own room does not look at.

use super::Check;
use crate::config::NamePattern;

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    for (name, settings) in &file.providers {
        let path = format!("providers.{name}");
        check.name(&path, "provider", name);
        if let Some(ca) = &settings.tls.ca {
            check.certificates(&format!("{path}.tls.ca"), ca);
        }
        patterns(check, &format!("{path}.prices"), settings.prices.keys());
    }
    patterns(check, "prices", file.prices.keys());
}

fn patterns<'n>(check: &mut Check<'_>, path: &str, names: impl Iterator<Item = &'n String>) {
    for name in names {
        if let Err(why) = NamePattern::compile(name) {
            check.add_at_key(&format!("{path}.{name}"), format!("{path}: {why}"));
        }
    }
}
