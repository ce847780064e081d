//! What crosses between a region and its hub. In one process the link is a channel; between machines it is the
//! mesh. Either way what crosses is bytes with a version in front, made by the node once and never changed after.

pub mod batch;
pub mod envelope;
pub mod link;
pub mod progress;
pub mod trial;
