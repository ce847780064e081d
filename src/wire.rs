//! What crosses between a region and its hub. In one process the link is a channel; between machines it will be a
//! cluster's. Either way what crosses is bytes with a version in front, made by the node once and never changed after.

pub mod batch;
pub mod link;
