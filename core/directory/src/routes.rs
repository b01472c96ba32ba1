//! Operations on routes, and the key of return paths.

use mail::{Address, spelling};
use store::Purpose;

use crate::aliases::check_count;
use crate::key::Key;
use crate::record::{Entry, name_lock};
use crate::route::Route;
use crate::whole::Named;
use crate::{Directory, DirectoryFault};

/// A scope as routes are kept by: `*`, a domain in lower case, or an address; in ASCII where that is another spelling. `None`: none of these.
pub fn parse_scope(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let (local, domain) = match text.rsplit_once('@') {
        Some((local, domain)) => (Some(local), domain),
        None => (None, text),
    };
    // One spelling as the key, or a domain could have two routes that contradict each other.
    let mut spellings = spelling::domains(domain);
    let ascii = spellings.iter().position(|one| one.is_ascii());
    let domain = spellings.swap_remove(ascii.unwrap_or(0));
    let address = Address::from_parts(local.unwrap_or("postmaster"), &domain)?;
    if domain.contains('@') || domain.contains(' ') {
        return None;
    }
    Some(match local {
        Some(_) => address.key(),
        None => domain,
    })
}

impl Directory {
    /// Replaces the route that the scope has. Durable when it answers.
    pub async fn put_route(&self, scope: &str, route: Route) -> Result<(), DirectoryFault> {
        let name = scope_name(scope)?;
        if let Route::Host { host, port, .. } = &route
            && (host.is_empty() || host.len() > 255 || !host.is_ascii() || *port == 0)
        {
            return Err(DirectoryFault::Refused("that is not a host and a port"));
        }
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&name)).await;
            check_count::<Route>(&inner.state.borrow(), &name)?;
            let put = Entry::Route(Named::Put {
                name: name.clone(),
                row: route.clone(),
            });
            inner.commit(Purpose::Delete, vec![put], Vec::new()).await?;
            Ok(())
        };
        // As a deletion: with a route an administrator empties a queue that fills the volume, and there are `ROUTES_MAX` of them at most.
        self.inner.tenancy.deleting(1, attempt).await
    }

    pub async fn remove_route(&self, scope: &str) -> Result<(), DirectoryFault> {
        let name = scope_name(scope)?;
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&name)).await;
            if inner.state.borrow().routes.get(&name).is_none() {
                return Err(DirectoryFault::Refused("no such route"));
            }
            let remove = Entry::Route(Named::Remove { name: name.clone() });
            inner
                .commit(Purpose::Delete, vec![remove], Vec::new())
                .await?;
            Ok(())
        };
        self.inner.tenancy.deleting(1, attempt).await
    }

    /// In order of scopes, at most `count_max`, after the scope `after`.
    pub fn routes(&self, after: Option<&str>, count_max: usize) -> Vec<(String, Route)> {
        let state = self.inner.state.borrow();
        let some = state.routes.after(after).take(count_max);
        some.map(|(name, route)| (name.clone(), route.clone()))
            .collect()
    }

    /// The route of a path: that of the address, else of its domain, else of everything.
    pub fn route(&self, local: &str, domain: &str) -> Option<Route> {
        let state = self.inner.state.borrow();
        if state.routes.count() == 0 {
            return None;
        }
        let address = parse_scope(&format!("{local}@{domain}"));
        let scopes = [address, parse_scope(domain), Some("*".to_owned())];
        let mut found = scopes.iter().flatten();
        found.find_map(|scope| state.routes.get(scope).cloned())
    }

    /// The route of exactly this address.
    pub fn route_of_address(&self, address: &Address) -> Option<Route> {
        let state = self.inner.state.borrow();
        if state.routes.count() == 0 {
            return None;
        }
        let scope = parse_scope(&address.to_string())?;
        state.routes.get(&scope).cloned()
    }

    /// The route of this domain, or else of everything.
    pub fn route_of_all(&self, domain: &str) -> Option<Route> {
        let state = self.inner.state.borrow();
        if state.routes.count() == 0 {
            return None;
        }
        let domain = parse_scope(domain).and_then(|scope| state.routes.get(&scope));
        domain.or_else(|| state.routes.get("*")).cloned()
    }

    /// The route of exactly this domain.
    pub fn route_of_domain(&self, domain: &str) -> Option<Route> {
        let scope = parse_scope(domain)?;
        self.inner.state.borrow().routes.get(&scope).cloned()
    }

    /// The key of that name. Where there is none yet, `fresh` becomes it, durably. `fresh` has to be random and secret.
    pub async fn key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], DirectoryFault> {
        let inner = &self.inner;
        let known = || inner.state.borrow().own_keys.get(name).map(|key| key.0);
        if let Some(key) = known() {
            return Ok(key);
        }
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let _locked = inner.locks.lock(name_lock(name)).await;
        if let Some(key) = known() {
            return Ok(key);
        }
        check_count::<Key>(&inner.state.borrow(), name)?;
        let name = name.to_owned();
        let put = Entry::Key(Named::Put {
            name,
            row: Key(fresh),
        });
        inner.commit(Purpose::Keep, vec![put], Vec::new()).await?;
        Ok(fresh)
    }

    /// The key of that name, if it was made.
    pub fn known_key(&self, name: &str) -> Option<[u8; 32]> {
        self.inner
            .state
            .borrow()
            .own_keys
            .get(name)
            .map(|key| key.0)
    }
}

fn scope_name(scope: &str) -> Result<String, DirectoryFault> {
    let why = "a route is for *, for a domain, or for an address";
    parse_scope(scope).ok_or(DirectoryFault::Refused(why))
}
