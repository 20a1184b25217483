//! The network: links whose messages keep their order and take their time, and that may break at both ends apart.

use std::collections::{BTreeMap, VecDeque};

use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::CoordMsg;

use roundhouse_tests::chance::Chance;

/// What comes out of a link at the worker's end.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    /// The coordinator said something.
    Said(CoordMsg),
    /// The link has ended.
    Ended,
}

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    /// Place of its worker.
    pub(crate) worker: usize,
    up: VecDeque<Event>,
    takes_up: bool,
    down: VecDeque<Down>,
    takes_down: bool,
}

/// Every link that is not over at both ends.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, Link>,
    opened: u64,
}

impl Links {
    pub(crate) fn open(&mut self, worker: usize) -> LinkId {
        self.opened += 1;
        let id = LinkId(self.opened);
        let link = Link {
            worker,
            up: VecDeque::new(),
            takes_up: true,
            down: VecDeque::new(),
            takes_down: true,
        };
        self.links.insert(id, link);
        id
    }

    pub(crate) fn ids(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    pub(crate) fn worker(&self, id: LinkId) -> Option<usize> {
        self.links.get(&id).map(|link| link.worker)
    }

    /// Whether nothing is on its way.
    pub(crate) fn are_quiet(&self) -> bool {
        let is_quiet = |link: &Link| link.up.is_empty() && link.down.is_empty();
        self.links.values().all(is_quiet)
    }

    pub(crate) fn has_up(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| !link.up.is_empty())
    }

    pub(crate) fn has_down(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| !link.down.is_empty())
    }

    /// A link with something on its way up.
    pub(crate) fn with_up(&self) -> Option<LinkId> {
        let mut links = self.links.iter();
        links.find(|(_, link)| !link.up.is_empty()).map(|(id, _)| *id)
    }

    /// A link with something on its way down.
    pub(crate) fn with_down(&self) -> Option<LinkId> {
        let mut links = self.links.iter();
        links.find(|(_, link)| !link.down.is_empty()).map(|(id, _)| *id)
    }

    pub(crate) fn say_up(&mut self, id: LinkId, event: Event) {
        if let Some(link) = self.links.get_mut(&id)
            && link.takes_up
        {
            link.up.push_back(event);
        }
    }

    pub(crate) fn say_down(&mut self, id: LinkId, msg: CoordMsg) {
        if let Some(link) = self.links.get_mut(&id)
            && link.takes_down
        {
            link.down.push_back(Down::Said(msg));
        }
    }

    pub(crate) fn next_up(&mut self, id: LinkId) -> Option<Event> {
        let event = self.links.get_mut(&id)?.up.pop_front();
        self.drop_if_over(id);
        event
    }

    pub(crate) fn next_down(&mut self, id: LinkId) -> Option<Down> {
        let down = self.links.get_mut(&id)?.down.pop_front();
        self.drop_if_over(id);
        down
    }

    /// The worker's end is closed: what it said still arrives, then the coordinator sees that the link is lost.
    pub(crate) fn close_up(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && link.takes_up
        {
            link.takes_up = false;
            link.up.push_back(Event::LinkLost { link: id });
        }
    }

    /// The coordinator's end is closed: what it said still arrives, then the worker sees that the link has ended.
    pub(crate) fn close_down(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && link.takes_down
        {
            link.takes_down = false;
            link.down.push_back(Down::Ended);
        }
        self.drop_if_over(id);
    }

    /// The worker's end says goodbye: nothing comes after it.
    pub(crate) fn say_goodbye(&mut self, id: LinkId) {
        self.say_up(id, Event::Left { link: id });
        if let Some(link) = self.links.get_mut(&id) {
            link.takes_up = false;
            link.takes_down = false;
            link.down.clear();
        }
        self.drop_if_over(id);
    }

    /// The link breaks: of what is on its way each end still gets the first few messages. The worker notices; the
    /// coordinator may find out by the silence only.
    pub(crate) fn cut(&mut self, id: LinkId, chance: &mut Chance) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.takes_up {
            link.up.truncate(chance.below(4));
            link.takes_up = false;
            if !chance.one_in(4) {
                link.up.push_back(Event::LinkLost { link: id });
            }
        }
        if link.takes_down {
            link.down.truncate(chance.below(4));
            link.takes_down = false;
            link.down.push_back(Down::Ended);
        }
    }

    /// The worker's end is gone without a trace; nothing comes out of it any more.
    pub(crate) fn drop_worker_end(&mut self, id: LinkId, chance: &mut Chance) {
        self.cut(id, chance);
        if let Some(link) = self.links.get_mut(&id) {
            link.down.clear();
        }
        self.drop_if_over(id);
    }

    /// The coordinator's end of every link is gone; some of what it said still arrives.
    pub(crate) fn drop_coordinator_ends(&mut self, chance: &mut Chance) {
        for link in self.links.values_mut() {
            link.up.clear();
            link.takes_up = false;
            if link.takes_down {
                link.down.truncate(chance.below(6));
                link.takes_down = false;
                link.down.push_back(Down::Ended);
            }
        }
        let ids = self.ids();
        ids.into_iter().for_each(|id| self.drop_if_over(id));
    }

    fn drop_if_over(&mut self, id: LinkId) {
        let is_over =
            |link: &Link| !link.takes_up && link.up.is_empty() && !link.takes_down && link.down.is_empty();
        if self.links.get(&id).is_some_and(is_over) {
            self.links.remove(&id);
        }
    }
}
