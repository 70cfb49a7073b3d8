//! Who belongs to a grid: whoever holds the key of its authority.
//!
//! A grid's identity is a directory with a certificate authority of its own. Every process makes
//! itself a fresh certificate at start and signs it with that key; both ends of every connection
//! must show one. Copying the directory to another machine lets that machine in.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::NetError;

/// The name in every certificate of a grid: identity is the authority, not the host.
pub(crate) const SERVER_NAME: &str = "grid";
const AUTHORITY_FILE: &str = "authority.pem";
const KEY_FILE: &str = "authority.key";
/// Names for directories under construction, so that threads do not share one.
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// A grid's identity: its authority and the key to sign with.
#[derive(Clone, Debug)]
pub struct Identity {
    authority_pem: String,
    key_pem: String,
}

impl Identity {
    /// A new identity that exists in this process only.
    ///
    /// # Errors
    /// [`NetError::Identity`] when the system gives no randomness.
    pub fn generate() -> Result<Self, NetError> {
        let broken = |reason: rcgen::Error| bad(Path::new(""), reason);
        let key = KeyPair::generate().map_err(broken)?;
        let key_pem = key.serialize_pem();
        let authority = CertifiedIssuer::self_signed(authority_params(), key).map_err(broken)?;
        Ok(Self { authority_pem: authority.pem(), key_pem })
    }

    /// The identity in a directory, made there if there is none. Two processes that come at once
    /// end with the same one.
    ///
    /// # Errors
    /// [`NetError::Identity`] when the directory cannot be read or written.
    pub fn load_or_create(directory: &Path) -> Result<Self, NetError> {
        if directory.join(AUTHORITY_FILE).exists() {
            return Self::load(directory);
        }
        let broken = |error: std::io::Error| bad(directory, error);
        let parent = directory.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(broken)?;
        let identity = Self::generate()?;
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let fresh = parent.join(format!(
            ".{name}.{}.{}",
            std::process::id(),
            ATTEMPTS.fetch_add(1, Ordering::Relaxed)
        ));
        fs::DirBuilder::new().mode(0o700).create(&fresh).map_err(broken)?;
        write_private(&fresh.join(AUTHORITY_FILE), &identity.authority_pem).map_err(broken)?;
        write_private(&fresh.join(KEY_FILE), &identity.key_pem).map_err(broken)?;
        match fs::rename(&fresh, directory) {
            Ok(()) => Ok(identity),
            Err(_) => {
                // Somebody was faster, or the directory exists without an identity.
                let _ = fs::remove_dir_all(&fresh);
                Self::load(directory)
            }
        }
    }

    fn load(directory: &Path) -> Result<Self, NetError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(|error| bad(&path, error))
        };
        Ok(Self { authority_pem: read(AUTHORITY_FILE)?, key_pem: read(KEY_FILE)? })
    }

    /// A fresh certificate of this grid for this process, with its key.
    fn sign(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let authority_key = KeyPair::from_pem(&self.key_pem)?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "grid process");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(key)))
    }

    /// TLS for both directions: each end shows a certificate of this grid and wants to see one.
    pub(crate) fn tls(&self) -> Result<(rustls::ServerConfig, rustls::ClientConfig), NetError> {
        let here = Path::new(AUTHORITY_FILE);
        let authority = CertificateDer::from_pem_slice(self.authority_pem.as_bytes())
            .map_err(|error| bad(here, error))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(|error| bad(here, error))?;
        let roots = Arc::new(roots);
        let (certificate, key) = self.sign().map_err(|error| bad(here, error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&roots),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| bad(here, error))?;
        let versions = &[&rustls::version::TLS13];
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| bad(here, error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .map_err(|error| bad(here, error))?;
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| bad(here, error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .map_err(|error| bad(here, error))?;
        Ok((server, client))
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "grid authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn bad(path: &Path, reason: impl std::fmt::Display) -> NetError {
    NetError::Identity { path: path.to_owned(), reason: reason.to_string() }
}
