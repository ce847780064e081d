//! The pages over the API's world: who gets in, what they may do, what they see, and what never leaves.

mod browser;
mod forms;
mod login;
mod pages;
mod thousand;
