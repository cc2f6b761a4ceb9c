//! Which addresses may be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::OutboundError;

/// Hosts and ranges that may be reached although their addresses are not public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    hosts: Vec<String>,
    ranges: Vec<Range>,
}

/// What is neither a host nor a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a host name nor an address nor a range such as 10.0.0.0/8")]
pub struct AllowError(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    bits: u8,
}

impl Allow {
    /// Reads host names, addresses and ranges in CIDR notation.
    ///
    /// # Errors
    /// [`AllowError`] for the first entry that is none of them.
    pub fn parse(entries: &[String]) -> Result<Self, AllowError> {
        let mut allow = Self::default();
        for entry in entries {
            let wrong = || AllowError(entry.clone());
            let (text, bits) = match entry.split_once('/') {
                Some((text, bits)) => (text, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
                None => (entry.as_str(), None),
            };
            match (text.trim_matches(['[', ']']).parse::<IpAddr>(), bits) {
                (Ok(first), bits) => {
                    let most = if first.is_ipv4() { 32 } else { 128 };
                    let bits = bits.unwrap_or(most);
                    if bits > most {
                        return Err(wrong());
                    }
                    allow.ranges.push(Range { first, bits });
                }
                (Err(_), None) if is_host_name(text) => allow.hosts.push(text.to_ascii_lowercase()),
                _ => return Err(wrong()),
            }
        }
        Ok(allow)
    }

    /// Refuses what can never be reached, whatever names lead to by then: addresses, and this machine itself.
    ///
    /// # Errors
    /// [`OutboundError::Refused`].
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        let (host, addresses) = match url.host() {
            Some(Host::Ipv4(address)) => (address.to_string(), vec![IpAddr::V4(address)]),
            Some(Host::Ipv6(address)) => (address.to_string(), vec![IpAddr::V6(address)]),
            // RFC 6761: these lead here and nowhere else.
            Some(Host::Domain(name)) if is_localhost(name) => {
                (name.to_owned(), vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
            }
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        match addresses.first() {
            Some(first) if !addresses.iter().any(|address| self.permits(&host, *address)) => {
                Err(OutboundError::Refused { host, address: *first })
            }
            _ => Ok(()),
        }
    }

    /// Whether `address`, which `host` resolved to, may be reached.
    #[must_use]
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
            || self.ranges.iter().any(|range| range.holds(address))
    }
}

impl Range {
    fn holds(&self, address: IpAddr) -> bool {
        let same = |first: u128, address: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            // A shift by the whole width is a range that holds everything.
            first.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
        };
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => same(first.to_bits().into(), address.to_bits().into(), 32),
            (IpAddr::V6(first), IpAddr::V6(address)) => same(first.to_bits(), address.to_bits(), 128),
            _ => false,
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_letter)
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether an address is one of the public Internet: none of the special ranges of the IANA registries (RFC 6890), and
/// no wrapping of such an IPv4 address in an IPv6 one.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [([u8; 4], u8); 16] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 31, 196, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 4),
        ([240, 0, 0, 0], 4),
    ];
    let bits = address.to_bits();
    SPECIAL.iter().all(|(first, length)| {
        let shift = 32 - u32::from(*length);
        bits >> shift != u32::from_be_bytes(*first) >> shift
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let low = Ipv4Addr::from_bits((address.to_bits() & 0xffff_ffff) as u32);
    match (a, b) {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address.
        (0x64, 0xff9b) if address.segments()[2..6] == [0; 4] => is_public_v4(low),
        (0x2002, _) => is_public_v4(Ipv4Addr::from_bits(u32::from(b) << 16 | u32::from(c))),
        // Benchmarks, Teredo and other protocols (2001::/23), documentation.
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All other unicast of today is in 2000::/3.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_addresses_are_not_public() {
        for text in ["1.1.1.1", "172.15.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(ip(text)), "{text}");
        }
        let special = [
            "0.0.0.0",
            "10.255.0.1",
            "100.64.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:0:1::",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in special {
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn what_can_never_be_reached_is_known_before() {
        let allow = |entries: &[&str]| {
            Allow::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        let is_refused = |allow: &Allow, url: &str| allow.check(&Url::parse(url).unwrap()).is_err();
        let hidden = [
            "http://127.0.0.1:9000/x",
            "http://2130706433/",
            "https://192.168.1.5/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://localhost:9000/",
            "http://LOCALHOST./",
            "http://a.localhost/",
        ];
        for url in hidden {
            assert!(is_refused(&allow(&[]), url), "{url}");
            assert!(!is_refused(&allow(&["0.0.0.0/0", "::/0"]), url), "{url}");
        }
        for url in ["https://9.9.9.9/", "http://[2606:4700::1111]/", "https://example.org/", "https://printer.lan/"] {
            assert!(!is_refused(&allow(&[]), url), "{url}");
        }
        for entry in ["localhost", "127.0.0.1", "::1"] {
            assert!(!is_refused(&allow(&[entry]), "http://localhost/"), "{entry}");
        }
        assert!(is_refused(&allow(&["192.168.1.0/24"]), "http://192.168.2.1/"));
    }

    #[test]
    fn ranges_and_hosts_are_allowed() {
        let entries = ["10.1.0.0/16", "fd00::/8", "192.168.1.7", "Cam.Example.org", "0.0.0.0/0"].map(str::to_owned);
        let allow = Allow::parse(&entries[..4]).unwrap();
        let cases = [
            ("x", "10.1.255.1", true),
            ("x", "10.2.0.1", false),
            ("x", "::ffff:10.1.0.1", true),
            ("x", "fd99::1", true),
            ("x", "fc00::1", false),
            ("x", "192.168.1.7", true),
            ("x", "192.168.1.8", false),
            ("cam.example.org", "127.0.0.1", true),
            ("example.org", "127.0.0.1", false),
            ("x", "9.9.9.9", true),
        ];
        for (host, address, expected) in cases {
            assert_eq!(allow.permits(host, ip(address)), expected, "{host} {address}");
        }
        assert!(Allow::parse(&entries).unwrap().permits("x", ip("127.0.0.1")));
        for wrong in ["10.0.0.0/33", "10.0.0.0/x", "a/8", "", "a b", "http://x"] {
            assert!(Allow::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
