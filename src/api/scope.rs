//! Which scope of a key a request takes, by its method and path.
//!
//! **Invariant.** A path nothing is said of here is open to no key at all; and no key makes or ends keys, or a second factor:
//! whoever has one that may little does not get one that may more.

use rocket::http::Method;

use crate::store::api_keys::Scope;

/// What belongs to a scope, by the beginning of its path; the first that fits counts.
const PLACES: [(&str, Place); 30] = [
    ("/api/v1/api-keys", Place::Nobody),
    ("/api/v1/local", Place::Nobody),
    ("/api/v1/users", Place::Of(Scope::Admin)),
    ("/api/v1/audit", Place::Of(Scope::Admin)),
    ("/api/v1/backup", Place::Of(Scope::Admin)),
    ("/api/v1/settings", Place::Of(Scope::Admin)),
    ("/api/v1/logs", Place::Of(Scope::Admin)),
    ("/api/v1/alerts/channels", Place::Of(Scope::Admin)),
    ("/api/v1/status/subscribers", Place::Of(Scope::Admin)),
    ("/api/v1/regions/tokens", Place::Of(Scope::Admin)),
    ("/api/v1/maintenance/issues/import", Place::Of(Scope::Admin)),
    ("/api/monitor/services", Place::Of(Scope::Services)),
    ("/api/monitor/checks", Place::Of(Scope::Services)),
    ("/api/monitor/results", Place::Of(Scope::Results)),
    ("/api/monitor/health", Place::Of(Scope::Results)),
    ("/api/monitor/digests", Place::Of(Scope::Results)),
    ("/api/v1/rollups", Place::Of(Scope::Results)),
    ("/api/v1/maintenance/performance", Place::Of(Scope::Results)),
    ("/api/v1/maintenance/metrics", Place::Of(Scope::Results)),
    ("/metrics", Place::Of(Scope::Results)),
    ("/api/v1/incidents", Place::Of(Scope::Incidents)),
    ("/api/v1/findings", Place::Of(Scope::Incidents)),
    ("/api/v1/maintenance/issues", Place::Of(Scope::Issues)),
    ("/api/v1/alerts", Place::Of(Scope::Alerts)),
    ("/api/v1/maintenance-windows", Place::Of(Scope::Alerts)),
    ("/api/v1/slos", Place::Of(Scope::Alerts)),
    ("/api/v1/maintenance/health", Place::Watched),
    ("/api/v1/cluster", Place::Watched),
    ("/api/v1/regions", Place::Watched),
    ("/api/v1/nodes", Place::Watched),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Of(Scope),
    /// Read by `read`, changed by `admin`.
    Watched,
    Nobody,
}

/// The scopes each of which lets a request in; none: no key does.
pub fn scopes_for(method: Method, path: &str) -> Vec<Scope> {
    let reads = matches!(method, Method::Get | Method::Head | Method::Options);
    let below = |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // All that happens, as it happens: of no one resource.
    if below("/api/v1/events") {
        return vec![Scope::Read];
    }
    match PLACES.iter().find(|(start, _)| below(start)).map(|(_, place)| *place) {
        Some(Place::Of(Scope::Admin)) => vec![Scope::Admin],
        Some(Place::Of(scope)) if reads => vec![Scope::Read, scope],
        Some(Place::Of(scope)) => vec![scope],
        Some(Place::Watched) if reads => vec![Scope::Read],
        Some(Place::Watched) => vec![Scope::Admin],
        Some(Place::Nobody) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_is_said_of_is_open_to_no_key() {
        for path in
            ["/", "/api/v1/api-keys", "/api/v1/api-keys/abc", "/api/v1/api-keysx", "/api/v1/local/seed", "/account", "/api/v1/new/thing"]
        {
            assert_eq!(scopes_for(Method::Get, path), [], "{path}");
        }
    }

    #[test]
    fn the_longer_path_wins_and_a_name_that_only_begins_alike_does_not() {
        assert_eq!(scopes_for(Method::Get, "/api/v1/alerts/channels/3"), [Scope::Admin]);
        assert_eq!(scopes_for(Method::Get, "/api/v1/alerts/rules/3"), [Scope::Read, Scope::Alerts]);
        assert_eq!(scopes_for(Method::Post, "/api/v1/maintenance/issues/import"), [Scope::Admin]);
        assert_eq!(scopes_for(Method::Post, "/api/v1/nodes/a/revoke"), [Scope::Admin]);
        assert_eq!(scopes_for(Method::Post, "/api/v1/regions/tokens/tokens"), [Scope::Admin]);
        assert_eq!(scopes_for(Method::Get, "/api/v1/nodes"), [Scope::Read]);
        assert_eq!(scopes_for(Method::Get, "/metricsx"), []);
    }
}
