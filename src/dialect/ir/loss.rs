//! What becomes of what the other format cannot express.
//!
//! Every member has one of four treatments, declared where it is encoded: it is *emulated* (said in
//! another way that has the same effect), *carried* (kept in a place where it comes back), *refused*
//! (the answer would be another one without it), or *dropped* with a report (the answer is as good,
//! or nearly so, without it). A strict route refuses what a lenient one drops.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// The most members that are reported of one request.
const REPORTED_MAX: usize = 32;

/// The longest name that is reported.
const NAME_BYTES_MAX: usize = 96;

/// What a route does with members that the upstream's format cannot express.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossPolicy {
    /// What the answer does not depend on is left out and named in `x-weir-dropped`; the rest is
    /// refused.
    #[default]
    Lenient,
    /// The request is refused.
    Strict,
}

/// Collects what is lost on the way into a format.
#[derive(Debug)]
pub struct Loss {
    to: &'static str,
    policy: LossPolicy,
    dropped: Vec<Cow<'static, str>>,
    unreported: u64,
    refused: Option<Error>,
}

impl Loss {
    /// Nothing is lost yet on the way into the format of this name.
    pub fn new(to: &'static str, policy: LossPolicy) -> Self {
        Self { to, policy, dropped: Vec::new(), unreported: 0, refused: None }
    }

    /// Leaves out a member that the answer does not depend on.
    pub fn drop(&mut self, field: impl Into<Cow<'static, str>>) {
        let field = field.into();
        if self.policy == LossPolicy::Strict {
            self.refuse(field);
        } else if self.dropped.contains(&field) {
            // One report of it is enough.
        } else if self.dropped.len() < REPORTED_MAX {
            self.dropped.push(field);
        } else {
            self.unreported += 1;
        }
    }

    /// Refuses a request without which the answer would be another one. The first refusal counts.
    pub fn refuse(&mut self, field: impl Into<Cow<'static, str>>) {
        if self.refused.is_none() {
            let field = field.into();
            let message =
                format!("`{field}` cannot be expressed in the upstream's format ({}).", self.to);
            self.refused = Some(Error::new(Kind::NotExpressible, message).param(field));
        }
    }

    /// What was left out; an error if the request has to be refused.
    pub fn into_report(self) -> Result<Dropped, Error> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(Dropped { fields: self.dropped, unreported: self.unreported }),
        }
    }

    /// What was left out since it was asked the last time, where nothing can be refused any more.
    pub fn take(&mut self) -> Dropped {
        if let Some(param) = self.refused.take().and_then(|error| error.param) {
            self.dropped.push(param);
        }
        Dropped {
            fields: std::mem::take(&mut self.dropped),
            unreported: std::mem::take(&mut self.unreported),
        }
    }
}

/// The names of what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    fields: Vec<Cow<'static, str>>,
    unreported: u64,
}

impl Dropped {
    /// Of these names.
    pub fn of(fields: Vec<Cow<'static, str>>) -> Self {
        let mut all = Self::default();
        all.extend(Self { fields, unreported: 0 });
        all
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.fields.len() as u64 + self.unreported
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what was left out elsewhere.
    pub fn extend(&mut self, other: Dropped) {
        for field in other.fields {
            if self.fields.len() >= REPORTED_MAX {
                self.unreported += 1;
            } else if !self.fields.contains(&field) {
                self.fields.push(field);
            }
        }
        self.unreported += other.unreported;
    }

    /// The names as the value of a header: separated by commas, with everything that a header
    /// cannot carry replaced.
    pub fn header_value(&self) -> String {
        let mut text = String::new();
        for field in &self.fields {
            if !text.is_empty() {
                text.push_str(", ");
            }
            let plain = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '_' };
            text.extend(field.chars().take(NAME_BYTES_MAX).map(plain));
        }
        if self.unreported > 0 {
            text.push_str(", …".replace('…', "...").as_str());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_reports_and_strict_refuses() {
        let mut loss = Loss::new("anthropic", LossPolicy::Lenient);
        loss.drop("seed");
        loss.drop("seed");
        loss.drop("a\nb,c");
        let dropped = loss.into_report().expect("nothing is refused");
        assert_eq!(dropped.header_value(), "seed, a_b_c");
        let mut loss = Loss::new("anthropic", LossPolicy::Strict);
        loss.drop("seed");
        loss.drop("logit_bias");
        let error = loss.into_report().expect_err("refused");
        assert_eq!((error.kind, error.param.as_deref()), (Kind::NotExpressible, Some("seed")));
    }

    #[test]
    fn the_report_is_bounded() {
        let mut loss = Loss::new("chat_completions", LossPolicy::Lenient);
        (0..100).for_each(|n| loss.drop(format!("field{n}{}", "x".repeat(1000))));
        let dropped = loss.take();
        assert_eq!(dropped.len(), 100);
        assert!(dropped.header_value().len() < (NAME_BYTES_MAX + 2) * (REPORTED_MAX + 1));
        assert!(loss.take().is_empty());
    }
}
