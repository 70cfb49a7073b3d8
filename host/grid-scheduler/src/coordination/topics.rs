//! Topics: messages for whoever subscribed, and the last of them for late readers.

use std::collections::{BTreeSet, VecDeque};

use grid_proto::coordination::{
    Coordinated, NamedKind, TOPIC_BYTES_MAX, TOPIC_MESSAGES_MAX, TopicMessage, TopicOperation,
};
use grid_proto::message::ToClient;
use grid_proto::{ClientId, Value};

use super::items::{ITEM_BYTES, check_size};
use super::{Asker, Given, entry_bytes, unknown};
use crate::machine::Scheduler;

#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) recent: VecDeque<TopicMessage>,
    pub(super) subscribers: BTreeSet<ClientId>,
    next: u64,
}

impl Topic {
    pub(super) fn bytes(&self) -> u64 {
        self.recent.iter().map(message_bytes).sum()
    }

    fn messages(&self) -> Coordinated {
        Coordinated::Messages(self.recent.iter().cloned().collect())
    }
}

impl Scheduler {
    pub(super) fn on_topic(
        &mut self,
        asker: Asker,
        name: String,
        operation: TopicOperation,
    ) -> Given {
        match operation {
            TopicOperation::Publish(value) => self.publish_message(name, value),
            TopicOperation::Subscribe => {
                let topic = self.open_topic(&name)?;
                topic.subscribers.insert(asker.client);
                let messages = topic.messages();
                self.coordination.subscriptions.entry(asker.client).or_default().insert(name);
                Ok(Some(messages))
            }
            TopicOperation::Unsubscribe => match self.coordination.topics.get_mut(&name) {
                Some(topic) => {
                    topic.subscribers.remove(&asker.client);
                    self.forget_subscription(asker.client, &name);
                    self.forget_silent_topic(&name);
                    Ok(Some(Coordinated::Done))
                }
                None => Err(unknown(NamedKind::Topic, name)),
            },
            TopicOperation::Recent => match self.coordination.topics.get(&name) {
                Some(topic) => Ok(Some(topic.messages())),
                None => Err(unknown(NamedKind::Topic, name)),
            },
            TopicOperation::Delete => match self.coordination.topics.remove(&name) {
                Some(topic) => {
                    for client in &topic.subscribers {
                        self.forget_subscription(*client, &name);
                    }
                    self.refund(entry_bytes(&name) + topic.bytes());
                    Ok(Some(Coordinated::Done))
                }
                None => Err(unknown(NamedKind::Topic, name)),
            },
        }
    }

    fn open_topic(&mut self, name: &str) -> Result<&mut Topic, grid_proto::message::Refusal> {
        if !self.coordination.topics.contains_key(name) {
            self.charge(entry_bytes(name))?;
        }
        Ok(self.coordination.topics.entry(name.to_owned()).or_default())
    }

    fn publish_message(&mut self, name: String, value: Value) -> Given {
        check_size(&value)?;
        self.open_topic(&name)?;
        let message = TopicMessage { number: 0, value };
        if let Err(refusal) = self.charge(message_bytes(&message)) {
            self.forget_silent_topic(&name);
            return Err(refusal);
        }
        let topic = self.coordination.topics.entry(name.clone()).or_default();
        let message = TopicMessage { number: topic.next, ..message };
        topic.next += 1;
        topic.recent.push_back(message.clone());
        let mut dropped = 0;
        while (topic.recent.len() > TOPIC_MESSAGES_MAX || topic.bytes() > TOPIC_BYTES_MAX)
            && let Some(oldest) = topic.recent.pop_front()
        {
            dropped += message_bytes(&oldest);
        }
        let subscribers: Vec<_> = topic.subscribers.iter().copied().collect();
        self.refund(dropped);
        for client in subscribers {
            let (name, message) = (name.clone(), message.clone());
            self.send_client(client, ToClient::Topic { name, message });
        }
        Ok(Some(Coordinated::Done))
    }

    /// One without messages exists only while somebody listens.
    fn forget_silent_topic(&mut self, name: &str) {
        let silent = |topic: &Topic| topic.recent.is_empty() && topic.subscribers.is_empty();
        if self.coordination.topics.get(name).is_some_and(silent) {
            self.coordination.topics.remove(name);
            self.refund(entry_bytes(name));
        }
    }

    fn forget_subscription(&mut self, client: ClientId, name: &str) {
        if let Some(names) = self.coordination.subscriptions.get_mut(&client) {
            names.remove(name);
            if names.is_empty() {
                self.coordination.subscriptions.remove(&client);
            }
        }
    }

    pub(super) fn unsubscribe_all(&mut self, client: ClientId) {
        for name in self.coordination.subscriptions.remove(&client).unwrap_or_default() {
            if let Some(topic) = self.coordination.topics.get_mut(&name) {
                topic.subscribers.remove(&client);
            }
            self.forget_silent_topic(&name);
        }
    }
}

fn message_bytes(message: &TopicMessage) -> u64 {
    ITEM_BYTES + message.value.bytes.len() as u64
}
