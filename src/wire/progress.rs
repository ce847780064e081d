//! How far a check has come, as it crosses from node to hub.

use serde::{Deserialize, Serialize};

use crate::model::check::Phase;
use crate::probe::progress::Step;
use crate::wire::batch::{BatchError, WirePhases};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireStep {
    attempt: u8,
    phase: Option<u8>,
    phases: WirePhases,
}

impl From<&Step> for WireStep {
    fn from(step: &Step) -> WireStep {
        WireStep { attempt: step.attempt, phase: step.phase.map(Phase::code), phases: step.phases.into() }
    }
}

impl TryFrom<WireStep> for Step {
    type Error = BatchError;

    fn try_from(wire: WireStep) -> Result<Step, BatchError> {
        let phase = |code| Phase::from_code(code).ok_or(BatchError::Code { what: "phase", code });
        Ok(Step { attempt: wire.attempt, phase: wire.phase.map(phase).transpose()?, phases: wire.phases.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::check::Phases;

    #[test]
    fn a_step_comes_over_as_it_was_and_a_phase_nobody_knows_is_refused() {
        let phases = Phases { dns: Some(Duration::from_micros(1_500)), connect: Some(Duration::from_millis(20)), ..Phases::default() };
        for phase in [None, Some(Phase::Connect)] {
            let step = Step { attempt: 3, phase, phases };
            let bytes = postcard::to_stdvec(&WireStep::from(&step)).expect("plain data always encodes");
            let wire: WireStep = postcard::from_bytes(&bytes).expect("it is one");
            assert_eq!(Step::try_from(wire).expect("its phase is known"), step);
        }
        let wire = WireStep { attempt: 1, phase: Some(99), phases: phases.into() };
        assert!(Step::try_from(wire).is_err());
    }
}
