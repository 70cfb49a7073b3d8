//! Garage, an S3 server that is not ours, as a process of one test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use grid_objects::{Objects, ObjectsConfig, S3Config};

use crate::support::{PATIENCE, target_dir};

/// The bucket that the key may use.
pub(crate) const BUCKET: &str = "grid";
/// A bucket that it may not.
pub(crate) const PRIVATE: &str = "private";
pub(crate) const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
pub(crate) const SECRET_KEY: &str =
    "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";

/// A store with a bucket `grid` for one key, and a bucket `private` for nobody.
pub(crate) struct Garage {
    server: Child,
    pub(crate) endpoint: String,
    home: tempfile::TempDir,
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn program() -> PathBuf {
    let own = || target_dir().join("garage/bin/garage");
    std::env::var_os("GRID_GARAGE").map_or_else(own, PathBuf::from)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Garage {
    pub(crate) fn start() -> Self {
        // Somebody may take a port in between.
        let garage = (0..5).find_map(|_| Self::try_start()).expect("Garage does not start");
        assert!(garage.command(&["bucket", "create", PRIVATE]).status().unwrap().success());
        garage
    }

    fn try_start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let (port, rpc_port) = (free_port(), free_port());
        let dir = home.path().display();
        let config = format!(
            "metadata_dir = '{dir}/meta'\ndata_dir = '{dir}/data'\ndb_engine = 'sqlite'\n\
             replication_factor = 1\nrpc_bind_addr = '127.0.0.1:{rpc_port}'\n\
             rpc_secret = '{}'\n[s3_api]\ns3_region = 'garage'\n\
             api_bind_addr = '127.0.0.1:{port}'\n",
            "17".repeat(32)
        );
        std::fs::write(home.path().join("garage.toml"), config).unwrap();
        let server = Command::new(program())
            .arg("-c")
            .arg(home.path().join("garage.toml"))
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run `cargo xtask test`, which builds Garage");
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut garage = Self { server, endpoint, home };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if garage.server.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "Garage does not listen");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Some(garage)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("-c").arg(self.home.path().join("garage.toml")).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// What it says of the bucket.
    pub(crate) fn bucket_info(&self) -> String {
        let output = self.command(&["bucket", "info", BUCKET]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The variables by which its key and address are known.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "garage"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Stores that know these variables, and no others, and grant everything.
    pub(crate) fn stores(&self, changes: &[(&str, Option<&str>)]) -> Objects {
        let mut environment: std::collections::BTreeMap<_, _> =
            self.environment().into_iter().collect();
        for (name, value) in changes {
            match value {
                Some(value) => environment.insert((*name).to_owned(), (*value).to_owned()),
                None => environment.remove(*name),
            };
        }
        let grants = ["*:read:s3://", "*:write:s3://"].map(|grant| grant.parse().unwrap()).into();
        let s3 = S3Config { environment: Some(environment), ..S3Config::default() };
        Objects::new(ObjectsConfig { grants, s3 })
    }
}
