//! What functions such as `current_setting` know of the session that asks.

use datafusion::common::Result;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use std::any::Any;

use crate::pgwire::settings::Settings;

/// A session, as its queries see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub user: String,
    pub pid: i32,
    pub settings: Settings,
}

impl ConfigExtension for Variables {
    const PREFIX: &'static str = "session";
}

impl ExtensionOptions for Variables {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        datafusion::common::config_err!("{key} is set with SET, not here")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
