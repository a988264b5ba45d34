//! Clients told apart, and no more of them than there is room for: what quotas count by, and what byte rates are
//! shared by.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Per;

/// Most clients that are told apart at once, for each quota and each rate; those that come later share one place. A
/// flood of addresses must not take memory without end.
pub(crate) const MAX_CLIENTS: usize = 65_536;

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Absent where nobody logged in.
    pub(crate) user: Option<String>,
}

/// Who a request counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Everybody at an address.
    Address(IpAddr),
    /// One user.
    User(String),
    /// Everybody.
    All,
    /// Those that came when [`MAX_CLIENTS`] were there already.
    Others,
}

impl Client {
    /// Who shares what is allotted `per` this.
    pub(crate) fn key(&self, per: Per) -> Key {
        match (per, &self.user) {
            (Per::All, _) => Key::All,
            (Per::User, Some(user)) => Key::User(user.clone()),
            (Per::User | Per::Address, _) => Key::Address(self.address),
        }
    }
}

/// Something for each client.
#[derive(Debug)]
pub(crate) struct Clients<T>(HashMap<Key, T>);

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Clients<T> {
    /// `key`, or that of the others where there is no room for one more, also after `tidy` has thrown out what need
    /// not be kept.
    pub(crate) fn place(&mut self, key: Key, tidy: impl FnOnce(&mut HashMap<Key, T>)) -> Key {
        if self.0.len() < MAX_CLIENTS || self.0.contains_key(&key) {
            return key;
        }
        tidy(&mut self.0);
        if self.0.len() < MAX_CLIENTS { key } else { Key::Others }
    }

    /// What there is under a key that [`Clients::place`] gave.
    pub(crate) fn entry(&mut self, key: Key) -> std::collections::hash_map::Entry<'_, Key, T> {
        self.0.entry(key)
    }

    /// What there is under a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&T> {
        self.0.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_beyond_the_bound_share_a_place_until_there_is_room() {
        let address = |n: u32| Key::Address(IpAddr::from(n.to_be_bytes()));
        let mut clients = Clients::default();
        for n in 0..MAX_CLIENTS as u32 {
            let key = clients.place(address(n), |_| panic!("there is room"));
            clients.entry(key).insert_entry(n);
        }
        assert_eq!(clients.place(address(7), |_| panic!("it is there")), address(7));
        assert_eq!(clients.place(address(u32::MAX), |_| {}), Key::Others);
        assert_eq!(clients.place(address(u32::MAX), |held| held.retain(|_, n| *n > 0)), address(u32::MAX));
    }
}
