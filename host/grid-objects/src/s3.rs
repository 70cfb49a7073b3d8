//! `s3://`: how the worker speaks to S3, and by which credentials.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grid_proto::outside::{StoreError, StoreErrorKind as Kind};
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredential, AwsCredentialProvider,
};
use object_store::{
    BackoffConfig, ClientConfigKey, CredentialProvider, Error, ObjectStore, RetryConfig,
};

use crate::profile::{Environment, Profile};
use crate::url::StoreUrl;

/// Buckets whose connections are kept.
const BUCKETS_MAX: usize = 64;
/// After which time files and environment are read anew: credentials change.
const KEPT: Duration = Duration::from_secs(600);
/// How long a connection may take to come about, and a request with its answer.
const CONNECT_TIMEOUT: &str = "5 s";
const REQUEST_TIMEOUT: &str = "60 s";
/// How often a request is tried again, and how long in all.
const RETRIES_MAX: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How a worker reaches S3. What is not said here, the environment says (`AWS_*`), and after it the
/// profile in `~/.aws`.
#[derive(Clone, Default)]
pub struct S3Config {
    /// Where it is; without it, Amazon's for the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Requests are not signed: for public buckets.
    pub anonymous: bool,
    /// The bucket is part of the host's name, not of the path.
    pub virtual_hosted: bool,
    /// The variables that are looked at instead of the process's own.
    pub environment: Option<Environment>,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment holds secrets.
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("anonymous", &self.anonymous)
            .field("virtual_hosted", &self.virtual_hosted)
            .finish_non_exhaustive()
    }
}

/// The buckets that were used lately.
#[derive(Default)]
pub(crate) struct S3 {
    config: S3Config,
    buckets: Mutex<HashMap<String, (Instant, Arc<AmazonS3>)>>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buckets hold secrets.
        f.debug_struct("S3").field("config", &self.config).finish_non_exhaustive()
    }
}

impl S3 {
    pub(crate) fn new(config: S3Config) -> Self {
        Self { config, buckets: Mutex::default() }
    }

    /// The store of a bucket. Reads files; asks nobody.
    pub(crate) fn bucket(&self, url: &StoreUrl) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, store)) = buckets.get(url.bucket())
            && made.elapsed() < KEPT
        {
            return Ok(Arc::clone(store) as Arc<dyn ObjectStore>);
        }
        if buckets.len() >= BUCKETS_MAX {
            buckets.clear();
        }
        let store = Arc::new(self.config.connect(url)?);
        buckets.insert(url.bucket().to_owned(), (Instant::now(), Arc::clone(&store)));
        Ok(store)
    }
}

impl S3Config {
    fn connect(&self, url: &StoreUrl) -> Result<AmazonS3, StoreError> {
        // Only the first does something; there is one provider in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = || {
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })
        };
        let environment = self.environment.clone().unwrap_or_else(|| own().collect());
        let profile = Profile::read(&environment);
        let builder = self.builder(url.bucket(), &environment, &profile);
        let failed = |error: Error| {
            tracing::warn!(%url, %error, "a store cannot be set up");
            let message = "the worker's settings for S3 cannot be used; its log says more";
            StoreError::new(Kind::Other, &url.to_string(), message)
        };
        let store = builder.clone().build().map_err(failed)?;
        let why = match &profile.beyond_us {
            Some(setting) => {
                format!("its profile has `{setting}`, which this worker does not follow")
            }
            None => "none in its environment, in `~/.aws` or from its machine".to_owned(),
        };
        let credentials: AwsCredentialProvider = match nobody_to_ask(&environment, &builder) {
            true => Arc::new(Nobody(why)),
            false => Arc::new(Explained { asked: Arc::clone(store.credentials()), why }),
        };
        builder.with_credentials(credentials).build().map_err(failed)
    }

    fn builder(
        &self,
        bucket: &str,
        environment: &Environment,
        profile: &Profile,
    ) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::new()
            .with_config(Key::Client(ClientConfigKey::ConnectTimeout), CONNECT_TIMEOUT)
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
        for (name, value) in environment {
            if name.starts_with("AWS_")
                && let Ok(key) = name.to_ascii_lowercase().parse()
            {
                builder = builder.with_config(key, value);
            }
        }
        let set = |builder: AmazonS3Builder, key: Key, value: &Option<String>| match value {
            Some(value) => builder.with_config(key, value),
            None => builder,
        };
        let unset = |builder: &AmazonS3Builder, keys: &[Key]| {
            keys.iter().all(|key| builder.get_config_value(key).is_none())
        };
        if unset(&builder, &[Key::AccessKeyId, Key::SecretAccessKey, Key::WebIdentityTokenFile]) {
            builder = set(builder, Key::AccessKeyId, &profile.access_key_id);
            builder = set(builder, Key::SecretAccessKey, &profile.secret_access_key);
            builder = set(builder, Key::Token, &profile.session_token);
        }
        if unset(&builder, &[Key::Region, Key::DefaultRegion]) {
            builder = set(builder, Key::Region, &profile.region);
        }
        if unset(&builder, &[Key::Endpoint, Key::S3Endpoint]) {
            builder = set(builder, Key::Endpoint, &profile.endpoint);
        }
        builder = set(builder, Key::Region, &self.region);
        // The more special one wins in the library; what the operator typed wins here.
        builder = set(builder, Key::S3Endpoint, &self.endpoint);
        if self.anonymous {
            builder = builder.with_skip_signature(true);
        }
        if self.virtual_hosted {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        address(builder, bucket).with_bucket_name(bucket).with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: BACKOFF_FIRST,
                max_backoff: BACKOFF_MAX,
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
        })
    }
}

/// An endpoint of the operator: as it is, or with the bucket in front of its host.
fn address(builder: AmazonS3Builder, bucket: &str) -> AmazonS3Builder {
    let said = |key: Key| builder.get_config_value(&key);
    let Some(endpoint) = said(Key::S3Endpoint).or_else(|| said(Key::Endpoint)) else {
        return builder;
    };
    let hosted = said(Key::VirtualHostedStyleRequest).is_some_and(|value| value == "true");
    let plain = endpoint.starts_with("http://");
    let endpoint = match endpoint.split_once("://") {
        Some((scheme, host)) if hosted && !host.starts_with(&format!("{bucket}.")) => {
            format!("{scheme}://{bucket}.{host}")
        }
        _ => endpoint,
    };
    let builder = builder.with_config(Key::S3Endpoint, endpoint);
    // Whoever types `http://` means it.
    if plain { builder.with_allow_http(true) } else { builder }
}

/// There are no credentials, and the machine's own service is not to be asked.
fn nobody_to_ask(environment: &Environment, builder: &AmazonS3Builder) -> bool {
    let disabled = environment
        .get("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let sources = [
        Key::AccessKeyId,
        Key::SecretAccessKey,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
    ];
    disabled && sources.iter().all(|key| builder.get_config_value(key).is_none())
}

/// Where credentials come from, and what it means if none come.
#[derive(Debug)]
struct Explained {
    asked: AwsCredentialProvider,
    why: String,
}

#[async_trait]
impl CredentialProvider for Explained {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.asked.get_credential().await.map_err(|error| {
            tracing::warn!(%error, "no credentials for S3");
            no_credentials(&self.why)
        })
    }
}

/// There are none.
#[derive(Debug)]
struct Nobody(String);

#[async_trait]
impl CredentialProvider for Nobody {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Err(no_credentials(&self.0))
    }
}

/// This worker has no credentials; why, for the task to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoCredentials(pub(crate) String);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this worker has no credentials for the store: {}", self.0)
    }
}

impl std::error::Error for NoCredentials {}

fn no_credentials(why: &str) -> Error {
    let source = Box::new(NoCredentials(why.to_owned()));
    Error::Unauthenticated { path: String::new(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(config: &S3Config, variables: &[(&str, &str)]) -> AmazonS3Builder {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = variables.iter().map(own).collect();
        config.builder("bucket", &environment, &Profile::read(&environment))
    }

    fn value(builder: &AmazonS3Builder, key: Key) -> String {
        builder.get_config_value(&key).unwrap_or_default()
    }

    #[test]
    fn the_environment_says_and_the_operator_has_the_last_word() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "B"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "https://elsewhere"),
            ("HOME", "/nowhere"),
        ];
        let builder = built(&S3Config::default(), &variables);
        assert_eq!(value(&builder, Key::AccessKeyId), "A");
        assert_eq!(value(&builder, Key::Region), "eu-west-1");
        assert_eq!(value(&builder, Key::S3Endpoint), "https://elsewhere");
        let config = S3Config {
            endpoint: Some("http://localhost:9000".to_owned()),
            region: Some("garage".to_owned()),
            ..S3Config::default()
        };
        let builder = built(&config, &variables);
        assert_eq!(value(&builder, Key::Region), "garage");
        assert_eq!(value(&builder, Key::S3Endpoint), "http://localhost:9000");
        assert_eq!(value(&builder, Key::Client(ClientConfigKey::AllowHttp)), "true");
    }

    #[test]
    fn a_bucket_may_be_part_of_the_host() {
        let config = S3Config {
            endpoint: Some("https://store.example:9000".to_owned()),
            virtual_hosted: true,
            ..S3Config::default()
        };
        let builder = built(&config, &[]);
        assert_eq!(value(&builder, Key::S3Endpoint), "https://bucket.store.example:9000");
    }

    #[test]
    fn secrets_are_not_shown() {
        let environment = Environment::from([
            ("AWS_ACCESS_KEY_ID".into(), "AKIA".into()),
            ("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into()),
        ]);
        let config = S3Config { environment: Some(environment), ..S3Config::default() };
        let s3 = S3::new(config.clone());
        let url = StoreUrl::parse("s3://bucket/key").unwrap();
        let store = s3.bucket(&url).unwrap();
        let bucket = crate::cloud::Bucket { store, url };
        let shown = format!("{config:?} {s3:?} {bucket:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AKIA"), "{shown}");
    }
}
