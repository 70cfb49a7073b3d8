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
    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl SchedulerCommand {
    pub(crate) async fn run(self, global: &Global) -> Result<(), CliError> {
        let identity = Identity::load_or_create(&global.identity_dir())?;
        let endpoint = Endpoint::quic(self.listen, &identity)?;
        let config = ServerConfig {
            state_dir: self.state_dir.unwrap_or_else(default_state_dir),
            scheduler: grid_scheduler::Config {
                seed: u64::from(std::process::id()),
                ..grid_scheduler::Config::default()
            },
        };
        let server = Server::new(config, endpoint.clone())?;
        write_out(&format!("scheduler listening on {}", endpoint.address()));
        server.run(stop::asked(self.stop_with_stdin)).await;
        endpoint.close().await;
        Ok(())
    }
}
