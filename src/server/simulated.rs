//! The built-in simulated providers: the load test's mock upstream, on loopback ports of this
//! process, reached over the network like any other upstream.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use weir_loadtest::mock;

use crate::plan::File;
use crate::provider::SimulatedSettings;

/// Running simulated providers, one for each distinct setting.
#[derive(Default)]
pub(super) struct Simulated {
    running: HashMap<SimulatedSettings, mock::Handle>,
}

impl Simulated {
    /// Starts what the file needs and is not running yet. Where each provider's is, by its name.
    pub(super) fn start(&mut self, file: &File) -> Result<BTreeMap<String, SocketAddr>, String> {
        let mut addresses = BTreeMap::new();
        for (name, provider) in &file.providers {
            let Some(settings) = provider.simulated else { continue };
            let address = if let Some(handle) = self.running.get(&settings) {
                handle.address()
            } else {
                let handle = mock::spawn(mock_settings(settings)).map_err(|error| {
                    format!("the simulated provider `{name}` cannot be started: {error}")
                })?;
                let address = handle.address();
                self.running.insert(settings, handle);
                address
            };
            addresses.insert(name.clone(), address);
        }
        Ok(addresses)
    }

    /// Stops those that the file no longer names.
    pub(super) fn keep_only(&mut self, file: &File) {
        self.running.retain(|settings, _| {
            file.providers.values().any(|provider| provider.simulated.as_ref() == Some(settings))
        });
    }
}

fn mock_settings(settings: SimulatedSettings) -> mock::Settings {
    mock::Settings {
        seed: settings.seed,
        ttft: mock::Latency::Fixed(settings.ttft.0),
        itl: mock::Latency::Fixed(settings.inter_token.0),
        tokens: mock::Tokens::fixed(settings.tokens),
        ..mock::Settings::default()
    }
}
