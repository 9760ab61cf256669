//! Providers: what their own room does not look at.

use super::Check;

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    for (name, kind) in &file.kinds {
        for (field, message) in kind.mistakes() {
            check.add(&format!("kinds.{name}.{field}"), message);
        }
    }
    for (name, settings) in &file.providers {
        let path = format!("providers.{name}");
        check.name(&path, "provider", name);
        if let Some(ca) = &settings.tls.ca {
            check.certificates(&format!("{path}.tls.ca"), ca);
        }
    }
}
