use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;

/// Print completions for a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) {
        clap_complete::generate(self.shell, &mut Cli::command(), "grid", &mut std::io::stdout());
    }
}
