//! `~/.aws/credentials` and `~/.aws/config`, as far as they hold plain keys. The store's library knows
//! the environment and the metadata services, but not these files.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The environment of the process, as far as it is about stores.
pub(crate) type Environment = BTreeMap<String, String>;

/// What a profile says.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    pub(crate) session_token: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    /// A setting by which credentials would have to be fetched from elsewhere.
    pub(crate) beyond_us: Option<String>,
}

/// Settings that name another source of credentials: roles, single sign-on, programs.
const BEYOND_US: [&str; 7] = [
    "role_arn",
    "source_profile",
    "credential_source",
    "credential_process",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

impl Profile {
    /// Reads the profile that the environment names, out of both files. What is not there says nothing.
    pub(crate) fn read(environment: &Environment) -> Self {
        let name = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
            .iter()
            .find_map(|&name| environment.get(name))
            .map_or("default", String::as_str);
        let text = |variable: &str, file: &str| {
            let path = match environment.get(variable) {
                Some(path) => PathBuf::from(path),
                None => PathBuf::from(environment.get("HOME")?).join(".aws").join(file),
            };
            std::fs::read_to_string(path).ok()
        };
        let mut profile = Self::default();
        let config = text("AWS_CONFIG_FILE", "config").unwrap_or_default();
        profile.take(&config, &[name, &format!("profile {name}")]);
        // What this file says wins.
        let credentials = text("AWS_SHARED_CREDENTIALS_FILE", "credentials").unwrap_or_default();
        profile.take(&credentials, &[name]);
        profile
    }

    fn take(&mut self, text: &str, sections: &[&str]) {
        let mut inside = false;
        for line in text.lines() {
            // An indented line belongs to a setting that is none of ours.
            if line.starts_with([' ', '\t']) {
                continue;
            }
            let line = line.trim();
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
                inside = sections.contains(&section.0.trim());
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let (key, value) = (key.trim(), value.trim().to_owned());
            match key {
                "aws_access_key_id" => self.access_key_id = Some(value),
                "aws_secret_access_key" => self.secret_access_key = Some(value),
                "aws_session_token" => self.session_token = Some(value),
                "region" => self.region = Some(value),
                "endpoint_url" => self.endpoint = Some(value),
                _ if BEYOND_US.contains(&key) => self.beyond_us = Some(key.to_owned()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_make_a_profile() {
        let dir = tempfile::tempdir().unwrap();
        let aws = dir.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        std::fs::write(
            aws.join("credentials"),
            "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[other]\n\
             aws_access_key_id=C\n",
        )
        .unwrap();
        std::fs::write(
            aws.join("config"),
            "[default]\nregion = eu-west-3\ns3 =\n  endpoint_url = http://no\n[profile other]\n\
             role_arn = arn:x\nendpoint_url = http://localhost:1\n",
        )
        .unwrap();
        let home = dir.path().display().to_string();
        let mut environment = Environment::from([("HOME".to_owned(), home)]);
        let profile = Profile::read(&environment);
        assert_eq!(profile.access_key_id.as_deref(), Some("A"));
        assert_eq!(profile.secret_access_key.as_deref(), Some("B="));
        assert_eq!(profile.region.as_deref(), Some("eu-west-3"));
        assert!(profile.endpoint.is_none() && profile.beyond_us.is_none());
        environment.insert("AWS_PROFILE".to_owned(), "other".to_owned());
        let profile = Profile::read(&environment);
        assert_eq!(profile.access_key_id.as_deref(), Some("C"));
        assert_eq!(profile.endpoint.as_deref(), Some("http://localhost:1"));
        assert_eq!(profile.beyond_us.as_deref(), Some("role_arn"));
        assert!(Profile::read(&Environment::new()) == Profile::default());
    }
}
