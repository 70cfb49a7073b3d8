//! Reaching a grid.

use std::path::PathBuf;
use std::time::Duration;

use grid_client::{Client, ClientOptions, default_identity_dir};

use crate::args::Global;
use crate::error::CliError;

impl Global {
    pub(crate) fn identity_dir(&self) -> PathBuf {
        self.identity.clone().unwrap_or_else(default_identity_dir)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) async fn connect(&self) -> Result<Client, CliError> {
        self.connect_to(&self.scheduler).await
    }

    pub(crate) async fn connect_to(&self, scheduler: &str) -> Result<Client, CliError> {
        let options = ClientOptions {
            scheduler: scheduler.to_owned(),
            identity_dir: self.identity_dir(),
            timeout: self.timeout(),
            ..ClientOptions::new(scheduler)
        };
        Ok(Client::connect_with(&options).await?)
    }
}

/// Where a grid keeps what must outlive its processes: `GRID_STATE`, else
/// `$XDG_DATA_HOME/grid/state` or `~/.local/share/grid/state`.
pub(crate) fn default_state_dir() -> PathBuf {
    match std::env::var_os("GRID_STATE").filter(|value| !value.is_empty()) {
        Some(directory) => directory.into(),
        None => default_identity_dir().with_file_name("state"),
    }
}
