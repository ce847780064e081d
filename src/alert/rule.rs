//! Whether a rule is about a cause. Pure.

use std::collections::BTreeSet;

use crate::model::alert::{Cause, CauseKind};
use crate::model::held::Held;
use crate::model::id::ServiceId;
use crate::model::rule::{Rule, Scope};

/// What of a service a rule may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub name: String,
    pub tags: Vec<String>,
    pub group: Option<String>,
}

/// `facts` of a service; `None`: it is no longer there, and only a rule for all or for its very number is about it.
pub fn covers(scope: &Scope, service: ServiceId, facts: Option<&Facts>) -> bool {
    scope.is_all()
        || scope.services.contains(&service)
        || facts.is_some_and(|facts| {
            facts.tags.iter().any(|tag| scope.tags.contains(tag)) || facts.group.as_ref().is_some_and(|group| scope.groups.contains(group))
        })
}

/// Whether a rule tells of causes of this kind and weight, whatever service they are of.
pub fn wants_kind(rule: &Rule, cause: &Cause, size: Option<f64>) -> bool {
    let large = match (cause.kind, rule.least_size, size) {
        (CauseKind::Finding, Some(least), Some(size)) => size >= least,
        _ => true,
    };
    rule.enabled && rule.kinds.contains(&cause.kind) && cause.severity >= rule.least && large
}

/// Whether a rule is about a cause: by its own service, or by one that fails because of it.
pub fn wants<'a>(rule: &Rule, held: &Held, facts: impl Fn(ServiceId) -> Option<&'a Facts>) -> bool {
    if !wants_kind(rule, &held.cause, held.size) {
        return false;
    }
    let Some(service) = held.cause.service else { return rule.scope.is_all() };
    let touched: BTreeSet<ServiceId> = held.consequences.iter().copied().chain([service]).collect();
    touched.into_iter().any(|service| covers(&rule.scope, service, facts(service)))
}
