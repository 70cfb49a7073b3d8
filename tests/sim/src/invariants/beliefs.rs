//! What clients were told last is what the scheduler has.

use crate::client::Standing;
use crate::world::World;

impl World {
    /// What clients believe is what the scheduler has.
    pub(crate) fn compare_states(&mut self) -> Result<(), String> {
        let calls = self.calls();
        for client in self.clients.iter().filter(|client| !client.forces) {
            for (key, standing) in &client.futures {
                let state = calls.iter().find(|call| call.key == *key).map(|call| &*call.state);
                let expected = match standing {
                    Standing::Here => "memory",
                    Standing::Failed(_) => "erred",
                    Standing::Pending | Standing::Elsewhere(..) => "",
                };
                if state != Some(expected) {
                    let state = state.unwrap_or("unknown");
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
