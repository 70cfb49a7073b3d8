//! What clients were told last is what the scheduler has.

use std::collections::BTreeMap;

use crate::client::Standing;
use crate::world::World;

impl World {
    /// What clients believe is what the scheduler has.
    pub(crate) fn compare_states(&mut self) -> Result<(), String> {
        let mut states = BTreeMap::new();
        for state in ["memory", "erred"] {
            let calls = self.calls_in(Some(state)).into_iter();
            states.extend(calls.map(|call| (call.key, state)));
        }
        for client in self.clients.iter().filter(|client| !client.forces) {
            for (key, standing) in &client.futures {
                let state = states.get(key).copied();
                let expected = match standing {
                    Standing::Here => "memory",
                    Standing::Failed(_) => "erred",
                    Standing::Pending | Standing::Elsewhere(..) => "",
                };
                if state != Some(expected) {
                    let state = state.unwrap_or("neither there nor failed");
                    return Err(format!(
                        "{}: a client was told `{expected}`, it is `{state}`",
                        key.short()
                    ));
                }
            }
        }
        Ok(())
    }
}
