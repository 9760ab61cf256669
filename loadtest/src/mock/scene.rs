//! What an endpoint's handler sees.

use super::prompt::{Cache, Reading};
use super::replay::Replays;
use super::reply::{Encode, Reply, Stream};
use super::request::Request;
use super::route::Route;
use super::script::{Ask, Prompt, Script};
use super::settings::Settings;
use super::store::Store;

/// What outlives a request.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) cache: Cache,
    pub(super) store: Store,
    pub(super) replays: Replays,
}

/// One request with everything around it.
pub(super) struct Scene<'a> {
    pub(super) settings: &'a Settings,
    pub(super) world: &'a World,
    pub(super) request: &'a Request,
    pub(super) route: &'a Route,
    /// Differs between requests.
    pub(super) id: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) request_id: &'a str,
}

impl Scene<'_> {
    pub(super) fn prompt(&self, reading: Reading) -> Prompt {
        reading.finish(&self.world.cache)
    }

    pub(super) fn script(&self, ask: &Ask) -> Script {
        Script::new(ask, &self.request.fields.knobs, self.settings)
    }

    pub(super) fn no_usage(&self) -> bool {
        self.request.fields.knobs.no_usage
    }

    /// How many tools are called of those that could be.
    pub(super) fn tool_calls(&self) -> usize {
        self.request.fields.knobs.tool_calls.unwrap_or(1).min(64) as usize
    }

    pub(super) fn stream(
        &self,
        ask: &Ask,
        content_type: &'static str,
        encoder: impl Encode + 'static,
    ) -> Reply {
        let script = self.script(ask);
        Reply::Stream(Stream { content_type, script, encoder: Box::new(encoder) })
    }
}
