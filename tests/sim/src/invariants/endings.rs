//! Whatever is wanted ends once nothing goes wrong any more.

use crate::world::World;

impl World {
    pub(crate) fn stuck(&mut self) -> String {
        let mut lines = vec!["these never end:".to_owned()];
        let calls = self.calls();
        for (place, client) in self.clients.iter().enumerate() {
            for key in client.unsettled() {
                let standing = &client.futures[&key];
                let known = calls.iter().find(|call| call.key == key);
                let known = known.map_or("unknown to the scheduler", |call| &call.explanation);
                lines.push(format!(
                    "client {place}: {} is {standing:?}; scheduler: {known}",
                    key.short()
                ));
            }
        }
        lines.push(format!("{} events to come", self.agenda.work()));
        lines.truncate(20);
        lines.join("\n  ")
    }
}
