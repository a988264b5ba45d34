//! Which image is copied next: in the plan's order, never more of one repository at once than allowed, and from the
//! start again where the plan repeats. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::plan::Operation;

/// One image to copy: which operation of the plan, in which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index into the plan.
    pub operation: usize,
    /// 0 for the first time through the plan.
    pub round: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Copy this image; say [`Schedule::done`] afterwards.
    Copy(Turn),
    /// Every repository with images left is at its limit; ask again after the next `done`.
    Wait,
    /// Nothing is left.
    Finished,
}

/// The order of a run.
#[derive(Debug)]
pub struct Schedule {
    repositories: Vec<String>,
    waiting: VecDeque<Turn>,
    running: BTreeMap<(u32, String), usize>,
    per_repository: usize,
    rounds: Option<u32>,
}

impl Schedule {
    /// At most `per_repository` images of a repository at once; `repeat` starts again for ever.
    pub fn new(operations: &[Operation], per_repository: usize, repeat: bool) -> Self {
        Self {
            repositories: operations.iter().map(|operation| operation.repository.clone()).collect(),
            waiting: (0..operations.len()).map(|operation| Turn { operation, round: 0 }).collect(),
            running: BTreeMap::new(),
            per_repository,
            rounds: repeat.then_some(0),
        }
    }

    /// The next image.
    pub fn take(&mut self) -> Next {
        if self.waiting.is_empty() {
            let Some(round) = self.rounds.as_mut() else { return Next::Finished };
            *round += 1;
            let round = *round;
            self.waiting = (0..self.repositories.len()).map(|operation| Turn { operation, round }).collect();
        }
        let free = self.waiting.iter().position(|turn| {
            self.running.get(&self.place(*turn)).is_none_or(|running| *running < self.per_repository)
        });
        match free.and_then(|position| self.waiting.remove(position)) {
            Some(turn) => {
                *self.running.entry(self.place(turn)).or_default() += 1;
                Next::Copy(turn)
            }
            None => Next::Wait,
        }
    }

    /// An image is finished, one way or the other.
    pub fn done(&mut self, turn: Turn) {
        let place = self.place(turn);
        if let Some(running) = self.running.get_mut(&place) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&place);
            }
        }
    }

    /// Images of the current round that nobody has begun.
    pub fn left(&self) -> u64 {
        self.waiting.len() as u64
    }

    fn place(&self, turn: Turn) -> (u32, String) {
        (turn.round, self.repositories[turn.operation].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(repositories: &[&str]) -> Vec<Operation> {
        let operation = |(index, repository): (usize, &&str)| Operation {
            index: index as u32,
            repository: (*repository).to_owned(),
            tag: format!("v{index}"),
            layers: vec![1],
        };
        repositories.iter().enumerate().map(operation).collect()
    }

    fn turn(operation: usize, round: u32) -> Turn {
        Turn { operation, round }
    }

    #[test]
    fn a_repository_at_its_limit_is_passed_over() {
        let mut schedule = Schedule::new(&operations(&["a", "a", "a", "b"]), 2, false);
        assert_eq!(schedule.take(), Next::Copy(turn(0, 0)));
        assert_eq!(schedule.take(), Next::Copy(turn(1, 0)));
        assert_eq!(schedule.take(), Next::Copy(turn(3, 0)));
        assert_eq!(schedule.take(), Next::Wait);
        schedule.done(turn(0, 0));
        assert_eq!(schedule.take(), Next::Copy(turn(2, 0)));
        assert_eq!(schedule.take(), Next::Finished);
    }

    #[test]
    fn a_repeating_plan_starts_again_in_a_new_round() {
        let mut schedule = Schedule::new(&operations(&["a", "b"]), 1, true);
        let turns: Vec<Next> = (0..5).map(|_| schedule.take()).collect();
        let wanted = [turn(0, 0), turn(1, 0), turn(0, 1), turn(1, 1), turn(0, 2)].map(Next::Copy);
        assert_eq!(turns, wanted);
        assert_eq!(schedule.left(), 1);
    }
}
