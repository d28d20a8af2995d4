//! Who comes first: declared apps, then services, then labels; the ready before those that are not; the older before
//! the younger.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::granted::{Granted, GrantedName, Grants, Leads};
use super::refusal::{self, Why};
use super::reserved;
use super::wish::{Ask, Ground, MOST_OF_LABELS, MOST_OF_ONE, Rank, Wish};
use crate::core::names::{AppName, Domain, HostName, PathPrefix};

/// Of long lists on labels so many hosts are looked at in all, beside the first few of each: what is refused has its
/// price too, in each turn.
const MOST_LOOKED_AT: usize = 20_000;
pub(super) const FEW: usize = 8;

/// Gives each wish what is free, in the order of their ranks. `wishes` are in the order of their apps, one of each.
pub fn grant(wishes: &[Wish], ground: &Ground<'_>) -> Grants {
    let mut granting = Granting {
        wishes,
        ground,
        held: HashMap::new(),
        releases: HashMap::new(),
        grants: Grants::default(),
        of_labels: 0,
        of_one: 0,
        looked_at: 0,
    };
    let mut order: Vec<(usize, &Ask)> =
        wishes.iter().enumerate().flat_map(|(n, wish)| wish.asks.iter().map(move |ask| (n, ask))).collect();
    order.sort_by_key(|(n, ask)| (ask.rank, ask.since, &wishes[*n].app));
    let first_of_labels = order.partition_point(|(_, ask)| ask.rank <= Rank::Service);
    let (said, labelled) = order.split_at(first_of_labels);
    for asks in [said, labelled] {
        asks.iter().for_each(|(n, ask)| granting.address_releases(*n, ask));
        asks.iter().for_each(|(n, ask)| granting.answer(*n, ask));
    }
    granting.finish()
}

/// Who holds a path of a host: a wish, by its number.
#[derive(Clone, Copy)]
struct Holder {
    wish: usize,
    rank: Rank,
}

struct Granting<'a> {
    wishes: &'a [Wish],
    ground: &'a Ground<'a>,
    held: HashMap<HostName, BTreeMap<PathPrefix, Holder>>,
    /// Addresses of single releases, and of which app.
    releases: HashMap<HostName, usize>,
    grants: Grants,
    of_labels: usize,
    /// Of these, what the labels that are being answered have.
    of_one: usize,
    looked_at: usize,
}

impl Granting<'_> {
    fn own(&self, wish: &Wish) -> [HostName; 2] {
        [wish.app.host(self.ground.domain), wish.app.localhost()]
    }

    /// An app's releases answer below its own name: that is nobody else's, unless somebody of higher rank said so.
    fn address_releases(&mut self, n: usize, ask: &Ask) {
        let wish = &self.wishes[n];
        let is_done = self.grants.apps.get(&wish.app).is_some_and(|g| !g.stable.is_empty());
        if !wish.has_releases || is_done {
            return;
        }
        for own in self.own(wish) {
            for which in ["stable", "candidate"] {
                let Ok(host) = own.child(which) else { continue };
                if let Some(holder) = self.held.get(&host).and_then(|paths| paths.iter().next()) {
                    let why = Why::Taken { path: holder.0.clone(), holder: self.wishes[holder.1.wish].app.clone() };
                    self.refuse(wish, ask, &host, why);
                    continue;
                }
                self.releases.insert(host.clone(), n);
                let granted = self.grants.apps.entry(wish.app.clone()).or_default();
                if which == "stable" { granted.stable.push(host) } else { granted.candidate.push(host) }
            }
        }
    }

    fn answer(&mut self, n: usize, ask: &Ask) {
        let wish = &self.wishes[n];
        let paths: BTreeSet<&PathPrefix> = wish.paths.iter().filter(|path| !reserved::is_own_path(path)).collect();
        if let Some(own) = wish.paths.iter().find(|path| reserved::is_own_path(path)) {
            self.refuse_path(wish, ask, own);
        }
        let is_ours = self.own(wish);
        let (looked_at, rest) = ask.hosts.split_at(self.room_for(ask));
        if let Some(first) = rest.first() {
            refusal::add(&mut self.grants.refused, &wish.app, ask, first.as_str(), rest.len(), Why::Full);
        }
        self.of_one = 0;
        for host in looked_at {
            match self.why_not(n, ask, host, &paths, is_ours.contains(host)) {
                Some(Ok(())) => {}
                Some(Err(why)) => self.refuse(wish, ask, host, why),
                None => {
                    let holder = Holder { wish: n, rank: ask.rank };
                    let held = self.held.entry(host.clone()).or_default();
                    held.extend(paths.iter().map(|path| ((*path).clone(), holder)));
                    if ask.rank > Rank::Service && !is_ours.contains(host) {
                        self.of_labels += paths.len();
                        self.of_one += paths.len();
                    }
                    self.grants.apps.entry(wish.app.clone()).or_default().hosts.push(host.clone());
                }
            }
        }
        let granted = self.grants.apps.entry(wish.app.clone()).or_default();
        if granted.paths.is_empty() {
            granted.paths = wish.paths.iter().filter(|path| paths.contains(path)).cloned().collect();
            let mut seen = BTreeSet::new();
            granted.paths.retain(|path| seen.insert(path.clone()));
        }
    }

    /// How many of the hosts are looked at.
    fn room_for(&mut self, ask: &Ask) -> usize {
        let all = ask.hosts.len();
        if ask.rank <= Rank::Service || all <= FEW {
            return all;
        }
        let room = all.min(FEW.max(MOST_LOOKED_AT.saturating_sub(self.looked_at)));
        self.looked_at += room;
        room
    }

    /// Why a host is not given: `Some(Ok(()))` where the app has it already.
    fn why_not(
        &self,
        n: usize,
        ask: &Ask,
        host: &HostName,
        paths: &BTreeSet<&PathPrefix>,
        is_own: bool,
    ) -> Option<Result<(), Why>> {
        let by_label = ask.rank > Rank::Service;
        if let Some(why) = reserved::whose(host, self.ground) {
            return Some(Err(why));
        }
        if let Some(of) = self.releases.get(host) {
            return Some(Err(Why::Release(self.wishes[*of].app.clone())));
        }
        let held = self.held.get(host);
        let holders = held.into_iter().flatten();
        if held.is_some_and(|held| held.values().any(|holder| holder.wish == n)) {
            return Some(Ok(()));
        }
        let closed = |wish: &Wish| Some(Err(Why::Closed(wish.app.clone())));
        if by_label {
            let first = holders.clone().map(|(_, holder)| holder).find(|holder| holder.rank <= Rank::Service);
            match first.map(|holder| (&self.wishes[holder.wish], holder.rank)) {
                Some((wish, Rank::Declared)) if wish.open => {}
                Some((wish, Rank::Declared)) => return closed(wish),
                Some((wish, _)) => return Some(Err(Why::Service(wish.app.clone()))),
                None => {}
            }
            if let Some(wish) = self.named_like(host).filter(|wish| !wish.open && wish.app != self.wishes[n].app) {
                return closed(wish);
            }
        }
        if paths.is_empty() {
            return Some(Ok(()));
        }
        if let Some((path, holder)) = holders.clone().find(|(path, _)| paths.contains(path)) {
            let holder = self.wishes[holder.wish].app.clone();
            return Some(Err(Why::Taken { path: path.clone(), holder }));
        }
        let app = &self.wishes[n].app;
        let is_others = |name: &str| (self.ground.is_others)(name, app);
        if ask.rank >= Rank::Waiting && host.below(self.ground.domain.as_str()).is_some_and(is_others) {
            return Some(Err(Why::Container));
        }
        if by_label && !is_own { self.is_full(paths.len()).map(Err) } else { None }
    }

    /// Why labels have no room for so many pairs more. The first few of each always have: nobody's many keep others out.
    fn is_full(&self, pairs: usize) -> Option<Why> {
        match self.of_one + pairs {
            ..=FEW => None,
            of_one if of_one > MOST_OF_ONE => Some(Why::Many),
            _ => (self.of_labels + pairs > MOST_OF_LABELS).then_some(Why::Full),
        }
    }

    /// The declared app that goes by this name, whether or not it asked for it.
    fn named_like(&self, host: &HostName) -> Option<&Wish> {
        let name = AppName::parse(host.below(self.ground.domain.as_str())?).ok()?;
        let at = self.wishes.binary_search_by(|wish| wish.app.cmp(&name)).ok()?;
        Some(&self.wishes[at]).filter(|wish| wish.asks.iter().any(|ask| ask.rank == Rank::Declared))
    }

    fn refuse(&mut self, wish: &Wish, ask: &Ask, host: &HostName, why: Why) {
        refusal::add(&mut self.grants.refused, &wish.app, ask, host.as_str(), 1, why);
    }

    fn refuse_path(&mut self, wish: &Wish, ask: &Ask, path: &PathPrefix) {
        refusal::add(&mut self.grants.refused, &wish.app, ask, path.as_str(), 1, Why::OwnPath);
    }

    fn finish(mut self) -> Grants {
        let domain = self.ground.domain;
        let mut names: BTreeMap<GrantedName, Leads> = BTreeMap::new();
        let below = |host: &&HostName| host.below(domain.as_str()).is_some();
        let own = |wish: &Wish| wish.app.host(domain);
        let declared = self.wishes.iter().filter(|wish| wish.asks.iter().any(|ask| ask.rank == Rank::Declared));
        let departed = |app: &AppName| {
            let at = self.wishes.binary_search_by(|wish| wish.app.cmp(app));
            at.is_ok_and(|at| self.wishes[at].asks.iter().all(|ask| ask.rank == Rank::Departed))
        };
        // What is gone answers at its hosts for a while, but its name is gone at once.
        let here = self.grants.apps.iter().filter(|(app, _)| !departed(app)).map(|(_, granted)| granted);
        let hosts = here.flat_map(Granted::all).filter(below).cloned().chain(declared.map(own));
        for host in hosts {
            names.insert(GrantedName(host.as_str().into()), Leads::Balancer);
        }
        for wish in self.wishes.iter().filter(|wish| wish.has_releases && !departed(&wish.app)) {
            let app = &wish.app;
            names.insert(GrantedName(format!("{app}.instances.{domain}").into()), Leads::Instances(app.clone()));
            names.insert(GrantedName(format!("_http._tcp.{app}.{domain}").into()), Leads::Services(app.clone()));
        }
        for (host, address) in self.ground.extra {
            names.insert(GrantedName(host.as_str().into()), Leads::Fixed(*address));
        }
        names.extend(reserved::names(domain));
        let parents: Vec<_> = names.keys().flat_map(|name| below_domain(name, domain)).collect();
        for parent in parents {
            if let Entry::Vacant(free) = names.entry(parent) {
                free.insert(Leads::Nothing);
            }
        }
        self.grants.names = names.into_iter().collect();
        self.grants
    }
}

fn below_domain(name: &GrantedName, domain: &Domain) -> Vec<GrantedName> {
    let is_below = name.as_str().strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
    if is_below { name.parents(domain).collect() } else { Vec::new() }
}
