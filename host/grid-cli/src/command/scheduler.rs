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
    /// Where bundles are kept. By default `~/.local/share/grid/state`.
    #[arg(long, env = "GRID_STATE", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    nesting: NestingArgs,
    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// How far calls may go that submit calls.
#[derive(Args, Debug, Clone)]
pub(crate) struct NestingArgs {
    /// How deep calls inside of calls may be nested.
    #[arg(long, default_value_t = 64, value_name = "DEPTH")]
    nesting_max: u32,
    /// How often a call may ask to run on another worker.
    #[arg(long, default_value_t = 100, value_name = "TIMES")]
    reschedules_max: u32,
}

impl NestingArgs {
    pub(crate) fn config(&self) -> grid_scheduler::Config {
        grid_scheduler::Config {
            nesting_max: self.nesting_max,
            reschedules_max: self.reschedules_max,
            seed: u64::from(std::process::id()),
            ..grid_scheduler::Config::default()
        }
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> [String; 2] {
        [
            format!("--nesting-max={}", self.nesting_max),
            format!("--reschedules-max={}", self.reschedules_max),
        ]
    }
}

impl SchedulerCommand {
    pub(crate) async fn run(self, global: &Global) -> Result<(), CliError> {
        let identity = Identity::load_or_create(&global.identity_dir())?;
        let endpoint = Endpoint::quic(self.listen, &identity)?;
        let config = ServerConfig {
            state_dir: self.state_dir.unwrap_or_else(default_state_dir),
            scheduler: self.nesting.config(),
        };
        let server = Server::new(config, endpoint.clone())?;
        write_out(&format!("scheduler listening on {}", endpoint.address()));
        server.run(stop::asked(self.stop_with_stdin)).await;
        endpoint.close().await;
        Ok(())
    }
}
