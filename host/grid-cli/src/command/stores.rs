//! What an operator says about stores outside of the grid.

use std::sync::Arc;

use clap::Args;
use grid_objects::{Objects, ObjectsConfig, S3Config, StoreGrant};
use grid_proto::outside::ObjectStores;

/// Stores that bundles may use, and how they are reached.
#[derive(Args, Debug, Clone)]
pub(crate) struct StoreArgs {
    /// Objects that a bundle may use: `BUNDLE:read:URL` or `BUNDLE:write:URL`, with an `s3://`, `file://` or
    /// `memory://` URL that stands for all below it. BUNDLE may be `*`.
    #[arg(long = "grant-store", value_name = "GRANT")]
    store_grants: Vec<StoreGrant>,
    /// Where S3 is, if it is not Amazon's. By default `AWS_ENDPOINT_URL`; credentials come from the
    /// environment (`AWS_ACCESS_KEY_ID` and so on), `~/.aws`, or the machine's metadata service.
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// The region of S3. By default `AWS_REGION`.
    #[arg(long, value_name = "REGION")]
    s3_region: Option<String>,
    /// Do not sign requests to S3: for public buckets.
    #[arg(long)]
    s3_anonymous: bool,
    /// Put the bucket into the host's name and not into the path.
    #[arg(long)]
    s3_virtual_hosted: bool,
}

impl StoreArgs {
    /// The stores; none if nothing is granted.
    pub(crate) fn stores(&self) -> Arc<dyn ObjectStores> {
        let config = ObjectsConfig {
            grants: self.store_grants.clone(),
            s3: S3Config {
                endpoint: self.s3_endpoint.clone(),
                region: self.s3_region.clone(),
                anonymous: self.s3_anonymous,
                virtual_hosted: self.s3_virtual_hosted,
                environment: None,
            },
        };
        Arc::new(Objects::new(config))
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args: Vec<_> =
            self.store_grants.iter().map(|grant| format!("--grant-store={grant}")).collect();
        args.extend(self.s3_endpoint.iter().map(|url| format!("--s3-endpoint={url}")));
        args.extend(self.s3_region.iter().map(|region| format!("--s3-region={region}")));
        if self.s3_anonymous {
            args.push("--s3-anonymous".to_owned());
        }
        if self.s3_virtual_hosted {
            args.push("--s3-virtual-hosted".to_owned());
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::StoreArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        stores: StoreArgs,
    }

    #[test]
    fn a_worker_that_is_started_gets_the_same_options() {
        let args = [
            "--grant-store=flights:read:s3://bucket/prefix/",
            "--grant-store=*:write:file:///srv/out",
            "--s3-endpoint=http://127.0.0.1:3900",
            "--s3-region=garage",
            "--s3-anonymous",
            "--s3-virtual-hosted",
        ];
        let line = Line::parse_from([&["worker"][..], &args].concat());
        assert_eq!(line.stores.to_args(), args);
        assert!(Line::try_parse_from(["worker", "--grant-store=flights:s3://bucket/"]).is_err());
    }
}
