//! Rules for what lies between a region and a service: names, ways and handshakes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Matter, Recommendation, fact, list, percent, span, sure};
use crate::analysis::performance::bottleneck::{CACHED_ANSWER, LEAST_COUNT};
use crate::analysis::performance::figures::{Figures, ServiceFigures, Stats};
use crate::analysis::trend::median;
use crate::model::check::Phase;
use crate::model::id::{RegionName, ServiceId};

/// A name that takes so long on average is slow, in microseconds…
const SLOW_DNS: f64 = 50_000.0;
/// …if it is so much of the whole.
const DNS_SHARE: f64 = 0.1;
/// A region is slow where its way takes so many times the others' median…
const SLOW_WAY: f64 = 2.0;
/// …and so much longer.
const LONGER_WAY: f64 = 50_000.0;
/// A region is slow as such where so large a part of its services is.
const MOST_SERVICES: f64 = 0.7;
/// A handshake worth a word takes so long…
const SLOW_TLS: f64 = 30_000.0;
/// …so much of the whole, and so many of its own connects.
const TLS_SHARE: f64 = 0.35;
const TLS_CONNECTS: f64 = 1.7;

/// Services with slow names, by region; and how many services have names there.
struct Names<'a> {
    slow: BTreeMap<&'a RegionName, Vec<(ServiceId, Stats)>>,
    all: BTreeMap<&'a RegionName, usize>,
}

pub(super) fn dns_everywhere(case: &Case<'_>) -> Vec<Recommendation> {
    let names = names(case);
    let (affected, all) = (affected(&names), names.all.len());
    if all < 2 || affected.len() < all {
        return Vec::new();
    }
    let regions: Vec<String> = affected.iter().map(|region| region.to_string()).collect();
    let what = |services: usize, typical: f64| {
        format!("Names resolve slowly everywhere: about {} in {}, for {services} services", span(typical), list(&regions))
    };
    let advice = |often: bool| match often {
        true => {
            "Every region waits for its resolver at most checks, so this is not one network's fault: look at what the regions have in \
             common. Point their nodes at a resolver near by that caches; if all names are of one zone, ask its name servers directly \
             and see whether they are slow, and raise the records' TTL so that resolvers may keep them."
        }
        false => {
            "Most answers come quickly and some very slowly: caches run empty. Raise the TTL of the records, shorten chains of CNAMEs, \
             or have the resolvers prefetch."
        }
    };
    vec![names_are_slow("dns_slow_everywhere", case, &names, &affected, Vec::new(), what, advice)]
}

pub(super) fn dns_region(case: &Case<'_>) -> Vec<Recommendation> {
    let names = names(case);
    let only = names.all.len() == 1;
    let one = |region: &RegionName| {
        let what = |services: usize, typical: f64| match only {
            true => format!("Names resolve slowly: about {}, for {services} services", span(typical)),
            false => format!("Names resolve slowly in {region} alone: about {}, for {services} services", span(typical)),
        };
        let advice = move |often: bool| match (only, often) {
            (false, _) => {
                "Other regions resolve the same names quickly, so it is the resolver this region's nodes use: look at its load and its way \
                 to the world, or give the nodes another one."
            }
            (true, true) => {
                "Nearly every check waits for the resolver: use one near by that caches. From one region alone it cannot be told from \
                 slow name servers; a second region would tell."
            }
            (true, false) => {
                "Some answers are fast and some very slow: caches run empty. Raise the TTL of the records or have the resolver prefetch."
            }
        };
        names_are_slow("dns_slow_in_region", case, &names, &BTreeSet::from([region]), vec![region.clone()], what, advice)
    };
    affected(&names).into_iter().map(one).collect()
}

pub(super) fn dns_service(case: &Case<'_>) -> Vec<Recommendation> {
    let names = names(case);
    let mut by_service: BTreeMap<ServiceId, Vec<(&RegionName, Stats)>> = BTreeMap::new();
    for (region, slow) in &names.slow {
        slow.iter().for_each(|(service, stats)| by_service.entry(*service).or_default().push((region, *stats)));
    }
    let one = |(service, slow): (ServiceId, Vec<(&RegionName, Stats)>)| {
        let (_, worst) = slow.iter().max_by(|one, other| one.1.mean.total_cmp(&other.1.mean))?;
        let count: u64 = slow.iter().map(|(_, stats)| stats.count).sum();
        let (sure, because) = sure(count, worst.mean / SLOW_DNS);
        let excess: f64 = slow.iter().map(|(_, stats)| (stats.mean - CACHED_ANSWER) * stats.count as f64).sum();
        let advice = match worst.p50 >= SLOW_DNS {
            true => {
                "The names of other services resolve quickly from the same places, so it is this name: look at its name servers, at chains of \
                 CNAMEs, and at DNSSEC answers that need TCP."
            }
            false => {
                "Its name mostly resolves quickly and now and then very slowly: its TTL is so short that caches seldom hold it. Raise the TTL."
            }
        };
        Some(Recommendation {
            rule: "dns_slow_for_service",
            services: vec![service],
            regions: slow.iter().map(|(region, _)| (*region).clone()).collect(),
            phase: Some(Phase::Dns),
            endpoint: None,
            what: format!("The name of {} resolves slowly: {} on average", case.name(service), span(worst.mean)),
            why: vec![
                fact("dns mean", worst.mean / 1e3, "ms"),
                fact("dns median", worst.p50 / 1e3, "ms"),
                fact("dns p95", worst.p95 / 1e3, "ms"),
                fact("checks", count as f64, "checks"),
            ],
            sure,
            because,
            advice: advice.to_owned(),
            cost: case.cost(excess / count.max(1) as f64, count),
            explains: slow.iter().map(|(region, _)| (service, (*region).clone(), Matter::Dns)).collect(),
        })
    };
    by_service.into_iter().filter_map(one).collect()
}

/// A service that is slow in a region, with its way there and the others'.
type Slow = (ServiceId, f64, f64);

pub(super) fn region_slow(case: &Case<'_>) -> Vec<Recommendation> {
    // By region: its slow services, and how many could be compared.
    let mut compared: BTreeMap<&RegionName, (Vec<Slow>, usize)> = BTreeMap::new();
    for (service, _) in case.services() {
        let regions = case.regions(service, Matter::FirstByte);
        for (region, figures) in &regions {
            let Some((own, others)) = against_others(&regions, region, figures, way) else { continue };
            let entry = compared.entry(region).or_default();
            entry.1 += 1;
            if own >= SLOW_WAY * others && own - others >= LONGER_WAY {
                entry.0.push((service.service, own, others));
            }
        }
    }
    let bad = compared.into_iter().filter(|(_, (slow, all))| *all >= 3 && slow.len() as f64 >= MOST_SERVICES * *all as f64);
    bad.map(|(region, (slow, all))| {
        let ratios = median(slow.iter().map(|(_, own, others)| own / others).collect()).unwrap_or(1.0);
        let excess = median(slow.iter().map(|(_, own, others)| own - others).collect()).unwrap_or(0.0);
        let count = checks_of(case, slow.iter().map(|(service, ..)| *service), region);
        let (sure, because) = sure(count, ratios / SLOW_WAY * slow.len() as f64 / all as f64 / MOST_SERVICES);
        let matters = [Matter::Connect, Matter::Tls, Matter::FirstByte];
        Recommendation {
            rule: "region_slow",
            services: slow.iter().map(|(service, ..)| *service).collect(),
            regions: vec![region.clone()],
            phase: None,
            endpoint: None,
            what: format!("{region} is slow for {} of {all} services: {ratios:.1} times what other regions take", slow.len()),
            why: vec![
                fact("connect, tls and first byte against other regions", ratios, "times"),
                fact("longer than other regions", excess / 1e3, "ms"),
                fact("services that are slow there", slow.len() as f64, "services"),
                fact("services compared", all as f64, "services"),
            ],
            sure,
            because,
            advice: "Nearly all services are slow from there, so it is not theirs: look at the uplink and the load of the region's nodes, at its \
                     routing, and, if it is simply far away, put what it asks for nearer by a CDN or a replica."
                .to_owned(),
            cost: case.cost(excess, count),
            explains: slow.iter().flat_map(|(service, ..)| matters.map(|matter| (*service, region.clone(), matter))).collect(),
        }
    })
    .collect()
}

pub(super) fn connect_region(case: &Case<'_>) -> Vec<Recommendation> {
    let mut found = Vec::new();
    for (service, setting) in case.services() {
        let regions = case.regions(service, Matter::Connect);
        for (region, figures) in &regions {
            let connect = |figures: &Figures| figures.phase(Phase::Connect).map(|stats| stats.p50);
            let Some((own, others)) = against_others(&regions, region, figures, connect) else { continue };
            let excess = own - others;
            if own < SLOW_WAY * others || excess < LONGER_WAY * 0.6 {
                continue;
            }
            let count = figures.phase(Phase::Connect).map_or(0, |stats| stats.count);
            let (sure, because) = sure(count, own / others / SLOW_WAY);
            // What follows from a long way: a handshake goes it two or three times, the first byte once or twice.
            let follows = |phase: Phase, trips: f64| {
                let of = |figures: &Figures| figures.phase(phase).map(|stats| stats.p50);
                against_others(&regions, region, figures, of).is_none_or(|(own, others)| own - others <= trips * excess + 10_000.0)
            };
            let mut matters = vec![Matter::Connect];
            matters.extend(follows(Phase::Tls, 3.0).then_some(Matter::Tls));
            matters.extend(follows(Phase::FirstByte, 2.0).then_some(Matter::FirstByte));
            found.push(Recommendation {
                rule: "connect_slow_in_region",
                services: vec![service.service],
                regions: vec![(*region).clone()],
                phase: Some(Phase::Connect),
                endpoint: None,
                what: format!("{} is far from {region}: connecting takes {}, {} elsewhere", setting.name, span(own), span(others)),
                why: vec![
                    fact(format!("connect median in {region}"), own / 1e3, "ms"),
                    fact("connect median in other regions", others / 1e3, "ms"),
                    fact("checks", count as f64, "checks"),
                ],
                sure,
                because,
                advice: "A connect is one round trip and nothing else, so it is distance or routing and not the service's work: serve that region \
                         from nearer by (CDN, anycast, a replica), keep connections open there, or have the detour looked at if the place is near."
                    .to_owned(),
                cost: case.cost(excess, count),
                explains: matters.into_iter().map(|matter| (service.service, (*region).clone(), matter)).collect(),
            });
        }
    }
    found
}

pub(super) fn tls_handshake(case: &Case<'_>) -> Vec<Recommendation> {
    let heavy = |figures: &Figures| -> Option<(Stats, Stats, f64)> {
        let (tls, connect) = (*figures.phase(Phase::Tls)?, *figures.phase(Phase::Connect)?);
        let share = figures.share(Phase::Tls)?;
        let many = tls.p50 >= TLS_CONNECTS * connect.p50 + 5_000.0;
        (tls.count >= LEAST_COUNT && tls.p50 >= SLOW_TLS && share >= TLS_SHARE && many).then_some((tls, connect, share))
    };
    let one = |(service, setting): (&ServiceFigures, &crate::analysis::performance::Setting)| {
        let regions = case.regions(service, Matter::Tls);
        let slow: Vec<_> = regions.iter().filter_map(|(region, figures)| Some((*region, heavy(figures)?))).collect();
        let (_, (tls, connect, share)) = slow.iter().max_by(|one, other| one.1.0.p50.total_cmp(&other.1.0.p50))?;
        let count: u64 = slow.iter().map(|(_, (tls, ..))| tls.count).sum();
        let trips = tls.p50 / connect.p50.max(1.0);
        let (sure, because) = sure(count, share / TLS_SHARE);
        let advice = match trips < 2.6 && connect.p50 >= 10_000.0 {
            true => {
                "It takes about two round trips, as TLS 1.2 does: TLS 1.3 needs one, and a resumed session (tickets) saves the keys' work as well. \
                 Who calls often should keep connections open."
            }
            false => {
                "It takes far longer than its round trips, so it is work or size: look at the length of the certificate chain (more than about 4 KB \
                 costs a round trip of its own), at large RSA keys (ECDSA is far cheaper), at the front end's CPU, and at whether sessions are \
                 resumed and OCSP is stapled."
            }
        };
        let excess: f64 = slow.iter().map(|(_, (tls, connect, _))| (tls.mean - connect.p50).max(0.0) * tls.count as f64).sum();
        Some(Recommendation {
            rule: "tls_share_high",
            services: vec![service.service],
            regions: if slow.len() < service.regions.len() {
                slow.iter().map(|(region, _)| (*region).clone()).collect()
            } else {
                Vec::new()
            },
            phase: Some(Phase::Tls),
            endpoint: None,
            what: format!("{} spends {} of each check on the TLS handshake: {}", setting.name, percent(*share), span(tls.p50)),
            why: vec![
                fact("tls median", tls.p50 / 1e3, "ms"),
                fact("tls p95", tls.p95 / 1e3, "ms"),
                fact("connect median", connect.p50 / 1e3, "ms"),
                fact("tls share of the latency", share * 100.0, "%"),
                fact("checks", count as f64, "checks"),
            ],
            sure,
            because,
            advice: advice.to_owned(),
            cost: case.cost(excess / count.max(1) as f64, count),
            explains: slow.iter().map(|(region, _)| (service.service, (*region).clone(), Matter::Tls)).collect(),
        })
    };
    case.services().filter_map(one).collect()
}

fn names<'a>(case: &Case<'a>) -> Names<'a> {
    let mut names = Names { slow: BTreeMap::new(), all: BTreeMap::new() };
    for (service, _) in case.services() {
        for (region, figures) in case.regions(service, Matter::Dns) {
            let Some(stats) = figures.phase(Phase::Dns).filter(|stats| stats.count >= LEAST_COUNT) else { continue };
            *names.all.entry(region).or_default() += 1;
            if stats.mean >= SLOW_DNS && figures.share(Phase::Dns).is_some_and(|share| share >= DNS_SHARE) {
                names.slow.entry(region).or_default().push((service.service, *stats));
            }
        }
    }
    names
}

/// Regions where two services or more, and more than half, have slow names.
fn affected<'a>(names: &Names<'a>) -> BTreeSet<&'a RegionName> {
    let most = |(region, slow): (&&'a RegionName, &Vec<(ServiceId, Stats)>)| {
        (slow.len() >= 2 && slow.len() * 2 > names.all.get(*region).copied().unwrap_or(0)).then_some(*region)
    };
    names.slow.iter().filter_map(most).collect()
}

fn names_are_slow(
    rule: &'static str,
    case: &Case<'_>,
    names: &Names<'_>,
    places: &BTreeSet<&RegionName>,
    regions: Vec<RegionName>,
    what: impl Fn(usize, f64) -> String,
    advice: impl Fn(bool) -> &'static str,
) -> Recommendation {
    let slow: Vec<(&RegionName, ServiceId, Stats)> = places
        .iter()
        .flat_map(|region| names.slow.get(*region).into_iter().flatten().map(|(service, stats)| (*region, *service, *stats)))
        .collect();
    let services: BTreeSet<ServiceId> = slow.iter().map(|(_, service, _)| *service).collect();
    let typical = median(slow.iter().map(|(.., stats)| stats.mean).collect()).unwrap_or(0.0);
    let middle = median(slow.iter().map(|(.., stats)| stats.p50).collect()).unwrap_or(0.0);
    let tail = median(slow.iter().map(|(.., stats)| stats.p95).collect()).unwrap_or(0.0);
    let count: u64 = slow.iter().map(|(.., stats)| stats.count).sum();
    let excess: f64 = slow.iter().map(|(.., stats)| (stats.mean - CACHED_ANSWER).max(0.0) * stats.count as f64).sum();
    let (sure, because) = sure(count, typical / SLOW_DNS);
    Recommendation {
        rule,
        what: what(services.len(), typical),
        services: services.into_iter().collect(),
        regions,
        phase: Some(Phase::Dns),
        endpoint: None,
        why: vec![
            fact("dns mean", typical / 1e3, "ms"),
            fact("dns median", middle / 1e3, "ms"),
            fact("dns p95", tail / 1e3, "ms"),
            fact("regions", places.len() as f64, "regions"),
            fact("checks", count as f64, "checks"),
        ],
        sure,
        because,
        advice: advice(middle >= SLOW_DNS).to_owned(),
        cost: case.cost(excess / count.max(1) as f64, count),
        explains: slow.iter().map(|(region, service, _)| (*service, (*region).clone(), Matter::Dns)).collect(),
    }
}

/// Connect, handshake and first byte: what a way costs, and a server.
fn way(figures: &Figures) -> Option<f64> {
    let of = |phase: Phase| figures.phase(phase).map_or(0.0, |stats| stats.p50);
    Some(of(Phase::Connect) + of(Phase::Tls) + of(Phase::FirstByte)).filter(|sum| *sum > 0.0)
}

/// A region's figure and the median of the others'.
pub(super) fn against_others(
    regions: &[(&RegionName, &Figures)],
    region: &RegionName,
    figures: &Figures,
    of: impl Fn(&Figures) -> Option<f64>,
) -> Option<(f64, f64)> {
    let others = regions.iter().filter(|(other, _)| *other != region).filter_map(|(_, figures)| of(figures)).collect();
    Some((of(figures)?, median(others)?))
}

fn checks_of(case: &Case<'_>, services: impl Iterator<Item = ServiceId>, region: &RegionName) -> u64 {
    services.filter_map(|service| case.analysis.series.get(&(service, region.clone()))).map(|series| series.total.latency.count()).sum()
}
