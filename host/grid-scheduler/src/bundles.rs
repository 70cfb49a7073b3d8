//! Bundles: known bytes, checked by a worker, then named.

use std::collections::BTreeMap;

use grid_proto::message::{Answer, Refusal, ToClient, ToWorker};
use grid_proto::report::BundleInfo;
use grid_proto::{BundleDescription, BundleHash, ClientId, RequestId, WorkerId};

use crate::event::Action;
use crate::machine::Scheduler;

#[derive(Debug)]
struct Bundle {
    size_bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its bytes are there; nobody has looked at them.
    Unchecked {
        inspector: Option<WorkerId>,
        waiting: Vec<Deployment>,
    },
    Accepted(BundleDescription),
}

/// Somebody who waits for a bundle to be checked and named.
#[derive(Debug)]
struct Deployment {
    client: ClientId,
    request: RequestId,
    replace: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Bundles {
    list: BTreeMap<BundleHash, Bundle>,
    /// `name@version` and, for the newest deployed, `name`.
    names: BTreeMap<String, BundleHash>,
}

impl Bundles {
    pub(crate) fn restore(&mut self, hash: BundleHash, size: u64, description: BundleDescription) {
        self.name(hash, &description);
        let state = State::Accepted(description);
        self.list.insert(hash, Bundle { size_bytes: size, state });
    }

    pub(crate) fn described(&self, hash: BundleHash) -> Option<&BundleDescription> {
        match &self.list.get(&hash)?.state {
            State::Accepted(description) => Some(description),
            State::Unchecked { .. } => None,
        }
    }

    pub(crate) fn infos(&self) -> Vec<BundleInfo> {
        self.list.keys().filter_map(|hash| self.info(*hash)).collect()
    }

    /// By `name`, `name@version`, hash, or an unambiguous prefix of a hash of four digits or more.
    pub(crate) fn find(&self, wanted: &str) -> Result<BundleInfo, Refusal> {
        let unknown = || Refusal::UnknownBundle { bundle: wanted.to_owned() };
        if let Some(info) = self.names.get(wanted).and_then(|hash| self.info(*hash)) {
            return Ok(info);
        }
        if wanted.len() < 4 {
            return Err(unknown());
        }
        let mut matching = self.list.keys().filter(|hash| hash.to_string().starts_with(wanted));
        match (matching.next(), matching.next()) {
            (Some(hash), None) => self.info(*hash).ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }

    fn info(&self, hash: BundleHash) -> Option<BundleInfo> {
        let description = self.described(hash)?.clone();
        Some(BundleInfo {
            hash,
            size_bytes: self.list.get(&hash)?.size_bytes,
            named: self.names.get(&description.label()) == Some(&hash),
            description,
        })
    }

    fn name(&mut self, hash: BundleHash, description: &BundleDescription) {
        self.names.insert(description.label(), hash);
        self.names.insert(description.name.clone(), hash);
    }

    /// Points the bundle's name to it, unless the name is another's.
    fn try_name(&mut self, hash: BundleHash, replace: bool) -> Result<BundleInfo, Refusal> {
        let description = self.described(hash).cloned().ok_or_else(|| unknown(hash))?;
        let label = description.label();
        match self.names.get(&label) {
            Some(known) if *known != hash && !replace => {
                Err(Refusal::NameTaken { label, known: *known, new: hash })
            }
            _ => {
                self.name(hash, &description);
                self.info(hash).ok_or_else(|| unknown(hash))
            }
        }
    }
}

fn unknown(hash: BundleHash) -> Refusal {
    Refusal::UnknownBundle { bundle: hash.to_string() }
}

impl Scheduler {
    pub(crate) fn on_bundle_stored(&mut self, hash: BundleHash, size_bytes: u64) {
        let state = State::Unchecked { inspector: None, waiting: Vec::new() };
        self.bundles.list.entry(hash).or_insert(Bundle { size_bytes, state });
    }

    pub(crate) fn on_deploy(
        &mut self,
        client: ClientId,
        request: RequestId,
        hash: BundleHash,
        replace: bool,
    ) {
        match self.bundles.list.get_mut(&hash).map(|bundle| &mut bundle.state) {
            None => self.answer(client, request, Answer::Refused(unknown(hash))),
            Some(State::Accepted(_)) => self.finish_deploy(hash, client, request, replace),
            Some(State::Unchecked { waiting, .. }) => {
                waiting.push(Deployment { client, request, replace });
                if let Some(worker) = self.workers.first_to_start(None, |_, _| true) {
                    self.inspect_pending(worker);
                }
            }
        }
    }

    /// Gives what still has to be checked to this worker.
    pub(crate) fn inspect_pending(&mut self, worker: WorkerId) {
        let mut hashes = Vec::new();
        for (hash, bundle) in &mut self.bundles.list {
            if let State::Unchecked { inspector: inspector @ None, waiting } = &mut bundle.state
                && !waiting.is_empty()
            {
                *inspector = Some(worker);
                hashes.push(*hash);
            }
        }
        for hash in hashes {
            self.send_worker(worker, ToWorker::Inspect(hash));
        }
    }

    /// A worker is gone: what it was checking is somebody else's now.
    pub(crate) fn reassign_inspections(&mut self, gone: WorkerId) {
        for bundle in self.bundles.list.values_mut() {
            if let State::Unchecked { inspector, .. } = &mut bundle.state
                && *inspector == Some(gone)
            {
                *inspector = None;
            }
        }
        if let Some(worker) = self.workers.first_to_start(None, |_, _| true) {
            self.inspect_pending(worker);
        }
    }

    pub(crate) fn on_inspected(
        &mut self,
        hash: BundleHash,
        result: Result<BundleDescription, String>,
    ) {
        let Some(bundle) = self.bundles.list.get_mut(&hash) else {
            return;
        };
        let State::Unchecked { waiting, .. } = &mut bundle.state else {
            return;
        };
        let waiting = std::mem::take(waiting);
        match result {
            Ok(description) => {
                bundle.state = State::Accepted(description.clone());
                let mut named = false;
                for Deployment { client, request, replace } in waiting {
                    self.finish_deploy(hash, client, request, replace);
                    named |= self.bundles.names.values().any(|other| *other == hash);
                }
                if named {
                    self.actions.push_back(Action::BundleAccepted(hash, description));
                }
            }
            Err(message) => {
                self.bundles.list.remove(&hash);
                self.actions.push_back(Action::BundleRejected(hash));
                for Deployment { client, request, .. } in waiting {
                    let refusal = Refusal::BadBundle { message: message.clone() };
                    self.answer(client, request, Answer::Refused(refusal));
                }
            }
        }
    }

    fn finish_deploy(
        &mut self,
        hash: BundleHash,
        client: ClientId,
        request: RequestId,
        replace: bool,
    ) {
        let answer = match self.bundles.try_name(hash, replace) {
            Ok(info) => Answer::Bundle(info),
            Err(refusal) => Answer::Refused(refusal),
        };
        self.answer(client, request, answer);
    }

    pub(crate) fn answer(&mut self, client: ClientId, request: RequestId, answer: Answer) {
        self.send_client(client, ToClient::Answer { request, answer });
    }
}
