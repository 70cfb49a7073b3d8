use clap::Args;

use crate::args::Global;
use crate::error::CliError;

/// Show what a grid does: real work on real data, then hostile functions beside good ones.
#[derive(Args, Debug)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) async fn run(self, _global: &Global) -> Result<(), CliError> {
        Err(CliError::Usage("being written".to_owned()))
    }
}
