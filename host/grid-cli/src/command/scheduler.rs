use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use grid_net::{Endpoint, Identity};
use grid_server::{Server, ServerConfig};

use crate::args::Global;
use crate::error::CliError;
use crate::output::write_out;
use crate::reach::default_state_dir;
use crate::stop;

/// Run a scheduler until Ctrl-C.
#[derive(Args, Debug)]
pub(crate) struct SchedulerCommand {
    /// Where to listen (UDP); port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8786", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Where bundles are kept, and dumps if its own state is ever wrong. By default `~/.local/share/grid/state`.
    #[arg(long, env = "GRID_STATE", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    scheduling: SchedulingArgs,
    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// What an operator says about scheduling.
#[derive(Args, Debug, Clone)]
pub(crate) struct SchedulingArgs {
    /// To how many times its slots a worker is filled with calls whose length is not known to be
    /// short; `inf` holds nothing back.
    #[arg(long, default_value_t = 1.1, value_name = "FACTOR")]
    saturation: f64,
    /// Deaths of workers that a call may cause before it fails as killed-worker.
    #[arg(long, default_value_t = 3, value_name = "N")]
    allowed_failures: usize,
    /// Strikes (traps, limits hit, deaths of workers; never errors that a task returns) after
    /// which a task is refused; 0 for any number.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    quarantine_after: u32,
    /// How deep calls inside of calls may be nested.
    #[arg(long, default_value_t = 64, value_name = "DEPTH")]
    nesting_max: u32,
    /// How often a call may ask to run on another worker.
    #[arg(long, default_value_t = 100, value_name = "TIMES")]
    reschedules_max: u32,
    /// Calls whose bookkeeping is verified in each turn, in a walk over all of them; a mistake stops
    /// the scheduler with a dump in its state directory. 0 for none.
    #[arg(long, default_value_t = 8, value_name = "CALLS")]
    checked_per_turn: usize,
}

impl SchedulingArgs {
    pub(crate) fn config(&self) -> Result<grid_scheduler::Config, CliError> {
        let wrong = || {
            let saturation = self.saturation;
            CliError::Usage(format!("`{saturation}` is not a saturation: above 0, or `inf`"))
        };
        if self.saturation.is_nan() || self.saturation <= 0.0 {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let saturation_percent = (self.saturation * 100.0).round() as u32;
        let defaults = grid_scheduler::Config::default();
        Ok(grid_scheduler::Config {
            seed: u64::from(std::process::id()),
            saturation_percent: saturation_percent.max(1),
            allowed_failures: self.allowed_failures,
            quarantine_strikes: self.quarantine_after,
            nesting_max: self.nesting_max,
            reschedules_max: self.reschedules_max,
            checked_per_turn: self.checked_per_turn,
            ..defaults
        })
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        vec![
            format!("--saturation={}", self.saturation),
            format!("--allowed-failures={}", self.allowed_failures),
            format!("--quarantine-after={}", self.quarantine_after),
            format!("--nesting-max={}", self.nesting_max),
            format!("--reschedules-max={}", self.reschedules_max),
            format!("--checked-per-turn={}", self.checked_per_turn),
        ]
    }
}

impl SchedulerCommand {
    pub(crate) async fn run(self, global: &Global) -> Result<(), CliError> {
        let identity = Identity::load_or_create(&global.identity_dir())?;
        let endpoint = Endpoint::quic(self.listen, &identity)?;
        let config = ServerConfig {
            state_dir: self.state_dir.unwrap_or_else(default_state_dir),
            scheduler: self.scheduling.config()?,
        };
        let server = Server::new(config, endpoint.clone())?;
        write_out(&format!("scheduler listening on {}", endpoint.address()));
        let ended = server.run(stop::asked(self.stop_with_stdin)).await;
        endpoint.close().await;
        Ok(ended?)
    }
}
