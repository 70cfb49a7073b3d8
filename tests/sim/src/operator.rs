//! An operator who changes what workers offer while the grid runs.

use grid_proto::message::{Answer, Query, Refusal};
use grid_proto::{Amount, WorkerId};

use crate::invariants::needs::{self, Resources};
use crate::world::World;

impl World {
    /// A worker offers something else from now on.
    pub(crate) fn tune(&mut self) {
        if self.faults.quiet {
            return;
        }
        let places = self.workers.len();
        let Some(operator) = &mut self.operator else { return };
        let place = operator.index(places);
        let resources = match operator.range(0, 4) {
            0 => Vec::new(),
            1 => vec![("gpu".to_owned(), Amount(1))],
            2 => vec![("gpu".to_owned(), Amount(3)), ("net".to_owned(), Amount(1))],
            _ => needs::resources(place),
        };
        self.offer(place, resources);
    }

    /// Every worker offers what it came with.
    pub(crate) fn offer_all(&mut self) {
        if self.operator.is_some() {
            for place in 0..self.workers.len() {
                self.offer(place, needs::resources(place));
            }
        }
    }

    fn offer(&mut self, place: usize, resources: Resources) {
        let worker = self.workers[place].name.clone();
        let Some(Answer::Workers(known)) = self.ask(Query::Workers) else { return };
        let id = known.iter().find(|known| known.name == worker).map(|known| known.id);
        self.log(&format!("SetResources {worker}: {resources:?}"));
        let query = Query::SetResources { worker, resources: resources.clone() };
        match (self.ask(query), id) {
            (Some(Answer::Workers(_)), Some(id)) => self.on_offered(id, resources),
            (Some(Answer::Refused(Refusal::Unavailable { .. })), None) => {}
            (answer, id) => panic!("worker {id:?} shall offer {resources:?}: {answer:?}"),
        }
        self.plan_flush();
    }

    fn on_offered(&mut self, id: WorkerId, resources: Resources) {
        self.oracle.invariants.needs.on_offered(id, resources);
    }
}
