//! Tenants and their teams: what callers of each are under, however they are identified.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::caller::Caller;
use super::policy::{self, Policies};
use super::record::Record;
use super::settings::{Settings, TeamSettings};
use crate::config::{Class, Labels, NamePattern};
use crate::limit::{self, Applicable, Owner, Sets, TimeZone};

/// A setting's path, and what is wrong with it.
pub(super) type FieldError = (String, String);

/// All tenants by name.
#[derive(Debug, Default)]
pub(super) struct Tenants(HashMap<Box<str>, Tenant>);

/// What all callers of a tenant are under.
#[derive(Debug)]
pub(super) struct Tenant {
    /// Shared by all who belong to it.
    name: Arc<str>,
    zone: TimeZone,
    limits: Sets,
    policies: Policies,
    teams: HashMap<Box<str>, Team>,
}

/// What all callers of a team are under, beside their tenant's.
#[derive(Debug)]
struct Team {
    name: Arc<str>,
    limits: Sets,
    policies: Policies,
    models: Option<Arc<[NamePattern]>>,
}

/// What a caller is under by itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) limits: Sets,
    pub(super) policies: Policies,
}

/// Where a caller belongs.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a str,
    pub(super) team: Option<&'a str>,
    pub(super) name: Arc<str>,
}

impl Tenants {
    /// Compiles the tenants. What is wrong is reported; the tenant stands all the same, so that what
    /// refers to it is still checked.
    pub(super) fn compile(settings: &BTreeMap<String, Settings>) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let compile = |(name, settings): (&String, &Settings)| {
            (name.as_str().into(), Tenant::compile(name, settings, &mut errors))
        };
        let tenants = settings.iter().map(compile).collect();
        (Self(tenants), errors)
    }

    /// The limits of every tenant and team that has any.
    pub(super) fn limits(&self) -> impl Iterator<Item = Applicable> {
        self.0.values().flat_map(|tenant| {
            let teams = tenant.teams.values().map(|team| &team.limits);
            let all = std::iter::once(&tenant.limits).chain(teams);
            all.filter_map(|sets| sets.with(&Sets::default()))
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tenant> {
        self.0.get(name)
    }

    /// The record with its tenant's and team's names as they are shared: there may be very many of a
    /// few tenants.
    pub(super) fn sharing_names(&self, mut record: Record) -> Record {
        if let Some(tenant) = self.get(&record.tenant) {
            let (name, team) = tenant.names(record.team.as_deref());
            record.tenant = name;
            record.team = team.or(record.team);
        }
        record
    }

    /// A caller of a tenant. `None` where there is no such tenant, or no such team in it.
    pub(super) fn caller(
        &self,
        place: &Place<'_>,
        labels: Labels,
        models: Vec<Arc<[NamePattern]>>,
    ) -> Option<Caller> {
        self.caller_with(place, labels, models, &Own::default())
    }

    /// The same with limits and policies of its own.
    pub(super) fn caller_with(
        &self,
        place: &Place<'_>,
        labels: Labels,
        mut models: Vec<Arc<[NamePattern]>>,
        own: &Own,
    ) -> Option<Caller> {
        let tenant = self.get(place.tenant)?;
        let team = match place.team {
            Some(name) => Some(tenant.teams.get(name)?),
            None => None,
        };
        let limits = match team {
            Some(team) => {
                models.extend(team.models.clone());
                tenant.limits.and(&team.limits).with(&own.limits)
            }
            None => tenant.limits.with(&own.limits),
        };
        let policies =
            [Some(&tenant.policies), team.map(|team| &team.policies), Some(&own.policies)];
        let policies = policies.into_iter().flatten().filter(|each| !each.is_empty());
        Some(Caller {
            tenant: Arc::clone(&tenant.name),
            team: team.map(|team| Arc::clone(&team.name)),
            name: Arc::clone(&place.name),
            id: format!("{}/{}", place.tenant, place.name).into(),
            issuer: None,
            user: None,
            roles: Vec::new(),
            claims: None,
            labels,
            limits,
            class: Class::default(),
            models,
            policies: policies.cloned().collect(),
            zone: tenant.zone.clone(),
        })
    }
}

impl Tenant {
    fn compile(name: &str, settings: &Settings, errors: &mut Vec<FieldError>) -> Self {
        let path = format!("tenants.{name}");
        let zone = settings.zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
        let zone = zone.unwrap_or_else(|_| {
            let message =
                "it is not a time zone: write a name of the IANA database, such as Europe/Berlin";
            errors.push((format!("{path}.zone"), message.to_owned()));
            TimeZone::UTC
        });
        let owner = Owner { kind: "tenant", id: name, tenant: name };
        let limits = sets(owner, &zone, &settings.limits, &path, errors);
        let policies = policies(owner, &settings.policies, &path, errors);
        let team = |(team, settings): (&String, &TeamSettings)| {
            let path = format!("{path}.teams.{team}");
            let owner = Owner { kind: "team", id: &format!("{name}/{team}"), tenant: name };
            let limits = sets(owner, &zone, &settings.limits, &path, errors);
            let policies = self::policies(owner, &settings.policies, &path, errors);
            let models = patterns(&settings.models).unwrap_or_else(|(field, why)| {
                errors.push((format!("{path}{field}"), why));
                None
            });
            let name: Arc<str> = team.as_str().into();
            (team.as_str().into(), Team { name, limits, policies, models })
        };
        let teams = settings.teams.iter().map(team).collect();
        Self { name: name.into(), zone, limits, policies, teams }
    }

    /// Its name, and that of one of its teams, as all who belong to them share them.
    pub(super) fn names(&self, team: Option<&str>) -> (Arc<str>, Option<Arc<str>>) {
        let team = team.and_then(|team| self.teams.get(team)).map(|team| Arc::clone(&team.name));
        (Arc::clone(&self.name), team)
    }

    /// The limits and policies of one of its keys. Errors come with the path from the key on.
    pub(super) fn own(
        &self,
        tenant: &str,
        key: &str,
        limits: &[limit::Settings],
        policies: &[policy::PolicySettings],
    ) -> Result<Own, Vec<FieldError>> {
        let owner = Owner { kind: "key", id: &format!("{tenant}/{key}"), tenant };
        let mut errors = Vec::new();
        let limits = sets(owner, &self.zone, limits, "", &mut errors);
        let policies = self::policies(owner, policies, "", &mut errors);
        if errors.is_empty() { Ok(Own { limits, policies }) } else { Err(errors) }
    }

    pub(super) fn has_team(&self, name: &str) -> bool {
        self.teams.contains_key(name)
    }
}

fn sets(
    owner: Owner<'_>,
    zone: &TimeZone,
    settings: &[limit::Settings],
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Sets {
    Sets::compile(owner, zone, settings).unwrap_or_else(|found| {
        errors.extend(found.into_iter().map(|(field, why)| (format!("{path}{field}"), why)));
        Sets::default()
    })
}

fn policies(
    owner: Owner<'_>,
    settings: &[policy::PolicySettings],
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Policies {
    policy::compile(owner, settings).unwrap_or_else(|found| {
        errors.extend(found.into_iter().map(|(field, why)| (format!("{path}{field}"), why)));
        Policies::default()
    })
}

/// Models that may be used; `None` for all.
pub(super) fn patterns(models: &[String]) -> Result<Option<Arc<[NamePattern]>>, FieldError> {
    let compile = |(at, pattern): (usize, &String)| {
        NamePattern::compile(pattern).map_err(|error| (format!(".models[{at}]"), error))
    };
    let patterns: Arc<[NamePattern]> =
        models.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
    Ok(Some(patterns).filter(|patterns| !patterns.is_empty()))
}
