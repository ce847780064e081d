//! Alerts: who is told of what, what there is to tell, what became of telling it, and trying it all.

pub mod causes;
pub mod deliveries;
pub mod drill;
pub mod rules;
