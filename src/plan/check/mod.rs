//! What neither the schema nor a room can see: names that lead nowhere, cycles, settings that
//! contradict each other across rooms, files that are missing. What a room can see of its own
//! settings, it says itself when the plan is compiled.

mod listeners;
mod pools;
mod providers;
mod routes;

use std::path::Path;

use super::{File, Source};
use crate::config::{Report, SecretSource, nearest, read_file, word_list};
use crate::database::Place;
use crate::limit::{self, WhenSpent};
use crate::tenant::Access;

/// Names listed before an ellipsis when none is near.
const NAMES_MAX: usize = 12;

/// Longest file with certificates; all the authorities of a system take a quarter of a megabyte.
const PEM_BYTES_MAX: u64 = 16 << 20;

/// Adds what it finds to the report. Reads certificates, so that depends on the machine too.
pub(super) fn check(source: &Source) -> Report {
    let mut check = Check::new(source);
    listeners::check(&mut check);
    providers::check(&mut check);
    pools::check(&mut check);
    routes::check(&mut check);
    check.access();
    check.budgets();
    check.storage();
    check.report
}

/// The file under check and what was found so far.
struct Check<'s> {
    source: &'s Source,
    file: &'s File,
    report: Report,
}

impl<'s> Check<'s> {
    fn new(source: &'s Source) -> Self {
        Self { source, file: &source.file, report: source.report() }
    }

    /// An error at the value that `path` names.
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.report.add(self.source.at(path), message);
    }

    /// An error at the key that `path` names.
    fn add_at_key(&mut self, path: &str, message: impl Into<String>) {
        self.report.add(self.source.key_at(path), message);
    }

    /// A name that is not among the known ones.
    fn unknown_name<'n>(
        &mut self,
        path: &str,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'n String>,
    ) {
        let names: Vec<&str> = known.map(String::as_str).collect();
        let proposal = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("there is no {what} yet: add it"),
            None if names.len() == 1 => format!("the only one is `{}`", names[0]),
            None => format!("there are {}", word_list(names, NAMES_MAX).replace(" or ", " and ")),
        };
        self.add(path, format!("unknown {what} `{name}`: {proposal}"));
    }

    /// A name that stands in URLs, labels and logs.
    fn name(&mut self, path: &str, what: &str, name: &str) {
        const CHARS_MAX: usize = 64;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = !name.is_empty() && name.len() <= CHARS_MAX && name.chars().all(plain);
        if !fits {
            self.add_at_key(
                path,
                format!(
                    "the name of a {what} has 1 to {CHARS_MAX} letters, digits, `-`, `_` or `.`, \
                     because it stands in addresses, labels and logs"
                ),
            );
        }
    }

    fn secret(&mut self, path: &str, secret: &SecretSource) {
        if let Err(error) = secret.resolve() {
            self.add(path, error.to_string());
        }
    }

    /// A file that must be there and readable; its bytes, if it is.
    fn readable(&mut self, path: &str, file: &Path) -> Option<Vec<u8>> {
        match read_file(file, PEM_BYTES_MAX) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.add(path, format!("{} cannot be read: {error}", file.display()));
                None
            }
        }
    }

    /// A PEM file with certificates.
    fn certificates(&mut self, path: &str, file: &Path) {
        use rustls_pki_types::CertificateDer;
        use rustls_pki_types::pem::PemObject;
        let Some(bytes) = self.readable(path, file) else { return };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        if !certificates.is_ok_and(|found| !found.is_empty()) {
            self.add(
                path,
                format!(
                    "{} holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)",
                    file.display()
                ),
            );
        }
    }

    /// One place for the database, whose secret can be read.
    fn storage(&mut self) {
        if self.file.identity.is_some() && self.file.storage.is_none() {
            self.add_at_key("identity", "`identity` needs `storage`, where keys are kept");
        }
        let Some(settings) = &self.file.storage else { return };
        if let Err((field, message)) = Place::of(settings) {
            self.add(&format!("storage{field}"), message);
        }
        if let Some(ca) = &settings.ca {
            self.certificates("storage.ca", ca);
        }
        let ledger = &self.file.ledger;
        if settings.url.is_some() && ledger.enabled && ledger.journal.is_none() {
            let message = "with `storage.url` the ledger's journal needs a folder on this machine: \
                           write `ledger: { journal: /var/lib/weir/journal }`";
            self.add_at_key("storage.url", message);
        }
    }

    /// Pools that budgets lead to, and what only callers' budgets can do.
    fn budgets(&mut self) {
        let file = self.file;
        let mut all: Vec<(String, &limit::Settings)> = Vec::new();
        let mut add = |path: String, limits: &'s [limit::Settings]| {
            let limits = limits.iter().enumerate();
            all.extend(limits.map(|(at, limit)| (format!("{path}.limits[{at}]"), limit)));
        };
        for (name, tenant) in &file.tenants {
            let path = format!("tenants.{name}");
            for (at, key) in tenant.keys.iter().enumerate() {
                add(format!("{path}.keys[{at}]"), &key.limits);
            }
            for (team, settings) in &tenant.teams {
                add(format!("{path}.teams.{team}"), &settings.limits);
            }
            add(path, &tenant.limits);
        }
        for (name, provider) in &file.providers {
            add(format!("providers.{name}"), &provider.limits);
        }
        for (path, settings) in all {
            for (at, budget) in settings.budgets.iter().enumerate() {
                let path = format!("{path}.budgets[{at}].when_spent");
                match &budget.when_spent {
                    WhenSpent::Refuse => {}
                    _ if path.starts_with("providers.") => {
                        self.add(&path, "a provider's budget can only be passed over: remove it");
                    }
                    WhenSpent::Use(pool) if !file.pools.contains_key(pool) => {
                        self.unknown_name(&format!("{path}.use"), "pool", pool, file.pools.keys());
                    }
                    WhenSpent::Use(_) | WhenSpent::Warn => {}
                }
            }
        }
    }

    /// Keys that callers need: there must be one. What a key itself must be like is
    /// [`crate::tenant::Directory`]'s to say.
    fn access(&mut self) {
        let none = self.file.tenants.values().all(|tenant| tenant.keys.is_empty())
            && self.file.issuers.is_empty()
            && self.file.identity.is_none();
        if self.file.access == Access::Keys && none {
            self.add(
                "access",
                "every caller needs a key, and there is none: add one under `tenants`, or write \
                 `access: open` to let everybody in",
            );
        }
        for name in self.file.tenants.keys() {
            self.name(&format!("tenants.{name}"), "tenant", name);
        }
        for name in self.file.issuers.keys() {
            self.name(&format!("issuers.{name}"), "issuer", name);
        }
    }
}
