//! Which program a cage works on next.
//!
//! Stands between the queue's two ends: programs come with a priority and leave when they are over; whoever has a cage
//! free asks for a run. Plain: no thread, no cage; the pool keeps it behind its lock. The order:
//! - a program that nobody works on, the most urgent first, then the one this cage was at, then the one that came
//!   first. So one cage works on each program as long as there are enough of them, and an urgent one waits for no more
//!   than one run of a cage, whatever that cage was at;
//! - else a run of a program that others work on: the cases of a few programs are spread over the cages that are idle.

use std::collections::BTreeMap;

use roundhouse_proto::work::Priority;

use super::course::{Course, Verdicts};
use super::step::{Outcome, Step};

/// Names a program on the board: by priority, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    priority: Priority,
    arrival: u64,
}

/// The programs that wait or are being judged, each with what the pool keeps of it.
#[derive(Debug)]
pub(crate) struct Board<T> {
    entries: BTreeMap<Place, Entry<T>>,
    arrivals: u64,
    /// Runs that are under way.
    under_way: usize,
    /// How many may be.
    share: usize,
}

#[derive(Debug)]
struct Entry<T> {
    course: Course,
    kept: T,
}

/// A run to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Of which program.
    pub(crate) place: Place,
    /// Which run.
    pub(crate) step: Step,
}

impl<T> Board<T> {
    /// An empty board, from which at most `share` runs are under way at once.
    pub(crate) fn new(share: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            arrivals: 0,
            under_way: 0,
            share,
        }
    }

    /// How many runs may be under way at once, from now on. Those that are go on to their end.
    pub(crate) fn set_share(&mut self, share: usize) {
        self.share = share;
    }

    /// As set last.
    pub(crate) fn share(&self) -> usize {
        self.share
    }

    /// Puts up a program that has at least one case to run.
    pub(crate) fn put_up(&mut self, priority: Priority, course: Course, kept: T) -> Place {
        self.arrivals += 1;
        let place = Place {
            priority,
            arrival: self.arrivals,
        };
        self.entries.insert(place, Entry { course, kept });
        place
    }

    /// Begins the next run for a cage that was at `own`; none if there is nothing for it now.
    pub(crate) fn take(&mut self, own: Option<Place>) -> Option<Turn> {
        let turn = self.peek(own)?;
        self.under_way += 1;
        self.entries.get_mut(&turn.place)?.course.begin(turn.step);
        Some(turn)
    }

    /// Whether there is a run for one more cage.
    pub(crate) fn has_more(&self) -> bool {
        self.peek(None).is_some()
    }

    fn peek(&self, own: Option<Place>) -> Option<Turn> {
        if self.under_way >= self.share {
            return None;
        }
        let turn = |place: &Place, entry: &Entry<T>| {
            let (place, step) = (*place, entry.course.peek()?);
            Some(Turn { place, step })
        };
        let own = own.and_then(|own| self.entries.get_key_value(&own));
        let own_free = own.filter(|(_, entry)| !entry.course.is_attended());
        // What others work on came before almost everything that waits, and there is little of it: this ends soon.
        let free = self.entries.iter().find(|(_, entry)| !entry.course.is_attended());
        let first = match (own_free, free) {
            (Some(own), Some(free)) if own.0.priority <= free.0.priority => Some(own),
            (Some(own), None) => Some(own),
            (_, free) => free,
        };
        if let Some((place, entry)) = first {
            return turn(place, entry);
        }
        let own = own.and_then(|(place, entry)| turn(place, entry));
        own.or_else(|| self.entries.iter().find_map(|(place, entry)| turn(place, entry)))
    }

    /// What is kept of a program; none if it has left.
    pub(crate) fn kept_mut(&mut self, place: Place) -> Option<&mut T> {
        Some(&mut self.entries.get_mut(&place)?.kept)
    }

    /// A run is over and came to this; what is kept of its program, and its verdicts, if the program is over too.
    pub(crate) fn end(&mut self, turn: Turn, outcome: Outcome) -> Option<(T, Verdicts)> {
        self.under_way -= 1;
        let entry = self.entries.get_mut(&turn.place)?;
        entry.course.end(turn.step, outcome);
        if !entry.course.is_over() {
            return None;
        }
        let Entry { course, kept } = self.entries.remove(&turn.place)?;
        Some((kept, course.into_verdicts()))
    }

    /// A run is over and came to nothing: its program leaves without verdicts. None if it has left already.
    pub(crate) fn give_up(&mut self, turn: Turn) -> Option<T> {
        self.under_way -= 1;
        Some(self.entries.remove(&turn.place)?.kept)
    }

    /// Takes every program down.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// How many programs are on it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests;
