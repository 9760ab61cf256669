//! Listeners and their workers, admin, bounds, log.

use std::net::SocketAddr;
use std::path::Path;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::Check;
use crate::config::{Size, Time};
use crate::transport::{ClientAuth, ListenerTls};

pub(super) fn check(check: &mut Check<'_>) {
    addresses(check);
    admin(check);
    bounds(check);
    log(check);
    let file = check.file;
    if file.runtime.incoming_cpu && !file.runtime.pin {
        check.add(
            "runtime.incoming_cpu",
            "only a pinned worker has a core of its own: set `pin: true` too",
        );
    }
    for (index, listener) in file.listeners.iter().enumerate() {
        if let Some(settings) = &listener.tls {
            tls(check, &format!("listeners[{index}].tls"), settings);
        }
    }
}

/// No two sockets may want the same port of the same address.
fn addresses(check: &mut Check<'_>) {
    let file = check.file;
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let listeners = file.listeners.iter().enumerate();
    let all = listeners
        .map(|(index, listener)| (format!("listeners[{index}].address"), listener.address))
        .chain([("admin.address".to_owned(), file.admin.address)]);
    for (path, address) in all {
        let clash = taken.iter().find(|(_, other)| overlap(*other, address));
        if let Some((other, with)) = clash {
            let message = if *with == address {
                format!("{address} is already the address of {}", owner(other))
            } else {
                format!("{address} overlaps with {with} of {}: use another port", owner(other))
            };
            check.add(&path, message);
        }
        taken.push((path, address));
    }
}

fn owner(path: &str) -> &str {
    path.trim_end_matches(".address")
}

/// Port 0 is a free one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || (wildcard && same_family))
}

fn admin(check: &mut Check<'_>) {
    let file = check.file;
    let admin = &file.admin;
    match &admin.token {
        Some(token) if token.optional => check.add(
            "admin.token",
            "the admin token cannot be optional: without it everybody would be let in",
        ),
        Some(token) => check.secret("admin.token", token),
        None if !admin.is_closed() && !admin.address.ip().is_loopback() => check.add(
            "admin.address",
            format!(
                "{} can be reached from other machines: add `token: {{env: NAME}}`, or listen on \
                 127.0.0.1:{}",
                admin.address,
                admin.address.port()
            ),
        ),
        None => {}
    }
    for (index, token) in admin.tokens.iter().enumerate() {
        let path = format!("admin.tokens[{index}]");
        if token.secret.optional {
            check.add(&format!("{path}.secret"), "an admin token cannot be optional: leave it out");
        } else {
            check.secret(&format!("{path}.secret"), &token.secret);
        }
        if token.name.starts_with('@') {
            let message = "names with `@` in front are those of tokens' users";
            check.add(&format!("{path}.name"), message);
        }
        if admin.tokens[..index].iter().any(|other| other.name == token.name) {
            let message = format!("another token is called `{}`", token.name);
            check.add(&format!("{path}.name"), message);
        }
        if let Some(tenant) = token.tenant.as_ref().filter(|it| !file.tenants.contains_key(*it)) {
            check.add(&format!("{path}.tenant"), format!("there is no tenant `{tenant}`"));
        }
    }
    for (index, sso) in admin.sso.iter().enumerate() {
        let path = format!("admin.sso[{index}]");
        let Some(issuer) = file.issuers.get(&sso.issuer) else {
            let path = format!("{path}.issuer");
            check.unknown_name(&path, "issuer", &sso.issuer, file.issuers.keys());
            continue;
        };
        if issuer.claims.roles.is_none() {
            let message = format!(
                "its tokens' roles are not read: add `claims: {{ roles: NAME }}` to `issuers.{}`",
                sso.issuer
            );
            check.add(&format!("{path}.issuer"), message);
        }
        if let Some(audience) = sso.audience.as_ref().filter(|it| !issuer.audience.contains(it)) {
            let message =
                format!("no token for `{audience}` is accepted: add it to the issuer's `audience`");
            check.add(&format!("{path}.audience"), message);
        }
    }
}

fn tls(check: &mut Check<'_>, path: &str, settings: &ListenerTls) {
    check.certificates(&format!("{path}.cert.file"), &settings.cert.file);
    let key_path = format!("{path}.key.file");
    if let Some(bytes) = check.readable(&key_path, &settings.key.file)
        && PrivateKeyDer::from_pem_slice(&bytes).is_err()
    {
        check.add(
            &key_path,
            format!(
                "{} holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)",
                settings.key.file.display()
            ),
        );
    }
    match (&settings.client_ca, settings.client_auth) {
        (Some(ca), _) => check.certificates(&format!("{path}.client_ca.file"), &ca.file),
        (None, ClientAuth::Optional) => check.add_at_key(
            &format!("{path}.client_auth"),
            "`client_auth` has no effect without `client_ca`: add the authorities to verify with",
        ),
        (None, ClientAuth::Required) => {}
    }
}

fn bounds(check: &mut Check<'_>) {
    let bounds = check.file.bounds;
    let sizes = [("head", bounds.head), ("body", bounds.body), ("frame", bounds.frame)];
    for (name, size) in sizes {
        // Less than this and no request of any dialect fits.
        const LEAST: Size = Size::kib(1);
        if size < LEAST {
            check.add(
                &format!("bounds.{name}"),
                format!("bounds.{name} is {size}: no request fits; it must be at least {LEAST}"),
            );
        }
    }
    let times = [
        ("read", bounds.read),
        ("body_time", bounds.body_time),
        ("idle", bounds.idle),
        ("write", bounds.write),
    ];
    for (name, time) in times {
        if time == Time::ms(0) {
            check.add(
                &format!("bounds.{name}"),
                format!("bounds.{name} is 0: every connection would be closed at once"),
            );
        }
    }
}

fn log(check: &mut Check<'_>) {
    let access = check.file.log.access.as_str();
    let path = match access {
        "stdout" | "stderr" | "off" => return,
        "" => {
            return check.add("log.access", "write `stdout`, `stderr`, `off` or a path");
        }
        path => Path::new(path),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        check.add("log.access", format!("{access} is a directory: name a file in it"));
    } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        check.add(
            "log.access",
            format!("{} is not a directory: create it, or log to `stdout`", folder.display()),
        );
    }
}
