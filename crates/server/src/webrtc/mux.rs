//! One UDP port for all peers.
//!
//! Every local address gets one socket, all on the same port where possible. A datagram belongs to the peer that its source
//! address is known for; an unknown address must introduce itself with a STUN request whose username names a
//! peer's ICE user fragment. Anything else is dropped and counted.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use str0m::ice::StunMessage;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Datagrams that wait for a peer's task: a key frame of the largest size fits.
const MAILBOX: usize = 512;
/// Source addresses remembered for one peer.
const MAX_ADDRESSES: usize = 32;
/// Largest datagram read; WebRTC keeps well below.
const MAX_DATAGRAM: usize = 2048;

/// A datagram on its way to a peer.
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) contents: Bytes,
}

/// All sockets, and who is behind which address.
pub(super) struct UdpMux {
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    routes: Arc<Routes>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Routes {
    table: Mutex<Table>,
    unclaimed: AtomicU64,
    overflowed: AtomicU64,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    mailboxes: HashMap<u64, mpsc::Sender<Datagram>>,
    by_ufrag: HashMap<String, u64>,
    by_address: HashMap<SocketAddr, u64>,
}

/// A peer's place in the mux; dropping it gives the place up.
pub(super) struct Registration {
    id: u64,
    routes: Arc<Routes>,
}

impl UdpMux {
    /// Binds a socket on every address of this machine that peers may reach, on `port`, or on a free one when that is 0.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        Self::bind_to(local_addresses(), port).await
    }

    async fn bind_to(addresses: Vec<IpAddr>, port: u16) -> io::Result<Self> {
        let routes = Arc::<Routes>::default();
        let mut sockets: Vec<(SocketAddr, Arc<UdpSocket>)> = Vec::new();
        let mut last_error = None;
        for ip in addresses {
            // The first socket chooses the port for the others; where it is taken they choose their own.
            let wanted = sockets.first().map_or(port, |(address, _)| address.port());
            let bound = match UdpSocket::bind((ip, wanted)).await {
                Err(_) if port == 0 => UdpSocket::bind((ip, 0)).await,
                bound => bound,
            };
            match bound.and_then(|socket| Ok((socket.local_addr()?, Arc::new(socket)))) {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    tracing::debug!("no media on {ip}: {error}");
                    last_error = Some(error);
                }
            }
        }
        if sockets.is_empty() {
            return Err(last_error.unwrap_or_else(|| io::Error::other("this machine has no network address")));
        }
        let readers = sockets
            .iter()
            .map(|(address, socket)| {
                tokio::spawn(read_loop(Arc::clone(socket), *address, Arc::clone(&routes)))
            })
            .collect();
        Ok(Self { sockets, routes, readers })
    }

    /// The addresses that peers may be told.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.sockets.iter().map(|(address, _)| *address)
    }

    /// Makes a mailbox for a new peer with this ICE user fragment.
    pub(super) fn register(&self, ufrag: &str) -> (Registration, mpsc::Receiver<Datagram>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        let mut table = self.routes.table.lock();
        table.next_id += 1;
        let id = table.next_id;
        table.mailboxes.insert(id, sender);
        table.by_ufrag.insert(ufrag.to_owned(), id);
        (Registration { id, routes: Arc::clone(&self.routes) }, receiver)
    }

    /// Sends from the socket with the local address `source`. A full socket buffer loses the datagram, as a network would.
    pub(super) fn send(&self, source: SocketAddr, destination: SocketAddr, contents: &[u8]) {
        let Some((_, socket)) = self.sockets.iter().find(|(address, _)| *address == source) else { return };
        if let Err(error) = socket.try_send_to(contents, destination) {
            tracing::trace!("send to {destination}: {error}");
        }
    }

    /// Datagrams that belonged to nobody, and those whose peer was too slow.
    pub(super) fn dropped(&self) -> (u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.routes.unclaimed), get(&self.routes.overflowed))
    }
}

impl Drop for UdpMux {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl Registration {
    /// Also answers to another user fragment, after an ICE restart.
    pub(super) fn add_ufrag(&self, ufrag: &str) {
        self.routes.table.lock().by_ufrag.insert(ufrag.to_owned(), self.id);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.routes.table.lock();
        table.mailboxes.remove(&self.id);
        table.by_ufrag.retain(|_, id| *id != self.id);
        table.by_address.retain(|_, id| *id != self.id);
    }
}

async fn read_loop(socket: Arc<UdpSocket>, destination: SocketAddr, routes: Arc<Routes>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, source)) => routes.dispatch(source, destination, &buffer[..length]),
            // Errors of a UDP socket concern single datagrams (an ICMP answer to one of ours); go on, but never spin.
            Err(error) => {
                tracing::trace!("receive on {destination}: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

impl Routes {
    fn dispatch(&self, source: SocketAddr, destination: SocketAddr, contents: &[u8]) {
        let mailbox = {
            let mut table = self.table.lock();
            let named = stun_ufrag(contents).and_then(|ufrag| table.by_ufrag.get(&ufrag).copied());
            let id = named.or_else(|| table.by_address.get(&source).copied());
            if let Some(id) = named
                && table.by_address.get(&source) != Some(&id)
                && table.by_address.values().filter(|owner| **owner == id).count() < MAX_ADDRESSES
            {
                table.by_address.insert(source, id);
            }
            id.and_then(|id| table.mailboxes.get(&id).cloned())
        };
        let Some(mailbox) = mailbox else {
            self.unclaimed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let datagram = Datagram { source, destination, contents: Bytes::copy_from_slice(contents) };
        if mailbox.try_send(datagram).is_err() {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The receiver's user fragment, from the username of a STUN request (RFC 8445 §7.2.2: `receiver:sender`).
fn stun_ufrag(contents: &[u8]) -> Option<String> {
    // RFC 7983: the first byte of STUN is 0 to 3.
    if !matches!(contents.first(), Some(0..=3)) {
        return None;
    }
    let message = StunMessage::parse(contents).ok()?;
    message.split_username().map(|(receiver, _)| receiver.to_owned())
}

/// Addresses on which peers may reach this machine, loopback last. Link-local ones need a scope that candidates can't carry.
fn local_addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
            IpAddr::V6(ip) => {
                !ip.is_loopback() && !ip.is_unspecified() && (ip.segments()[0] & 0xffc0) != 0xfe80
            }
        })
        .take(8)
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn loopback() -> UdpMux {
        UdpMux::bind_to(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).await.unwrap()
    }

    /// A STUN binding request (RFC 8445 §7.1) with username, priority, and an integrity that nobody has checked yet.
    fn binding_request(username: &str) -> Vec<u8> {
        let mut attributes = vec![0, 6, 0, username.len() as u8];
        attributes.extend(username.bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        attributes.extend([0, 0x24, 0, 4, 0, 0, 0, 1]);
        attributes.extend([0, 8, 0, 20]);
        attributes.extend([0; 20]);
        let mut message = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        message.extend(attributes);
        message
    }

    #[test]
    fn the_username_names_the_receiver() {
        let request = binding_request("mine:theirs");
        assert_eq!(stun_ufrag(&request).as_deref(), Some("mine"));
    }

    #[test]
    fn no_truncation_of_a_request_panics() {
        let request = binding_request("mine:theirs");
        for length in 0..request.len() {
            stun_ufrag(&request[..length]);
        }
    }

    #[tokio::test]
    async fn datagrams_follow_the_address_that_introduced_itself() {
        let mux = loopback().await;
        let address = mux.addresses().next().unwrap();
        let (registration, mut mailbox) = mux.register("abcd");
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(&[22, 1, 2], address).await.unwrap();
        client.send_to(&binding_request("abcd:x"), address).await.unwrap();
        client.send_to(&[22, 3, 4], address).await.unwrap();
        let mut first = Vec::new();
        for _ in 0..2 {
            let datagram =
                tokio::time::timeout(Duration::from_secs(10), mailbox.recv()).await.unwrap().unwrap();
            assert_eq!(datagram.source, client.local_addr().unwrap());
            first.push(datagram.contents[0]);
        }
        assert_eq!(first, [0, 22], "the datagram before the introduction was not dropped");
        drop(registration);
        assert!(mux.routes.table.lock().by_address.is_empty());
    }
}
