//! Pictures in a request: which are taken, and what stands in a `data:` address (http.md 6.3). Fetching those of other
//! addresses is not done here. Pure.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

use crate::limits;

/// Types that are taken without a setting.
const MIMES: [&str; 6] = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/heic", "image/heif"];

/// What an operator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether addresses of other servers are fetched.
    pub allow_url: bool,
    /// Hosts they may be fetched from; any public one when empty. `*.` in front takes those below.
    pub hosts: Vec<String>,
    /// Types; the usual ones when empty.
    pub mimes: Vec<String>,
    /// Bytes of one.
    pub max_bytes: usize,
    /// Redirects followed.
    pub redirects: usize,
    /// Time for one address.
    pub time: Duration,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            allow_url: false,
            hosts: Vec::new(),
            mimes: Vec::new(),
            max_bytes: limits::PICTURE_BYTES,
            redirects: limits::PICTURE_REDIRECTS,
            time: limits::PICTURE_TIME,
        }
    }
}

/// A picture of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// It stands in the request.
    Data {
        /// Its type.
        mime: String,
        /// Base64 of it.
        data: String,
        /// Bytes of it.
        size: usize,
    },
    /// It is at this address.
    Url(String),
}

impl Picture {
    /// Bytes of it, where it is here.
    pub fn size(&self) -> usize {
        match self {
            Picture::Data { size, .. } => *size,
            Picture::Url(_) => 0,
        }
    }
}

impl Rules {
    /// What these addresses are; none when there are too many, or one is not taken.
    pub fn read(&self, addresses: &[String]) -> Option<Vec<Picture>> {
        if addresses.len() > limits::PICTURES {
            return None;
        }
        addresses.iter().map(|address| self.one(address.trim())).collect()
    }

    fn one(&self, address: &str) -> Option<Picture> {
        let Some(rest) = strip_scheme(address, "data:") else {
            let web = strip_scheme(address, "http://").or(strip_scheme(address, "https://")).is_some();
            return (web && self.may_fetch(address)).then(|| Picture::Url(address.to_string()));
        };
        let (head, data) = rest.split_once(',')?;
        let mut parts = head.split(';').map(str::trim);
        let mime = parts.next()?.to_ascii_lowercase();
        let encoded = parts.any(|part| part.eq_ignore_ascii_case("base64"));
        if !encoded || !self.takes(&mime) {
            return None;
        }
        let data = data.trim();
        // The length alone refuses what would be large to decode.
        let fits = |size: &usize| *size > 0 && *size <= self.max_bytes;
        Some(base64::decoded_len_estimate(data.len())).filter(|size| *size <= self.max_bytes.saturating_add(3))?;
        let size = BASE64.decode(data.as_bytes()).ok().map(|bytes| bytes.len()).filter(fits)?;
        Some(Picture::Data { mime, data: data.to_string(), size })
    }

    /// Whether pictures of this type are taken.
    pub fn takes(&self, mime: &str) -> bool {
        match self.mimes.is_empty() {
            true => MIMES.contains(&mime),
            false => self.mimes.iter().any(|known| known.eq_ignore_ascii_case(mime)),
        }
    }

    /// Whether an address may be fetched; that it is a public one is checked by who fetches it.
    pub fn may_fetch(&self, address: &str) -> bool {
        let host = host(address);
        let fits = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(end) => host.strip_suffix(&end.to_ascii_lowercase()).is_some_and(|rest| rest.ends_with('.')),
            None => host == pattern.to_ascii_lowercase(),
        };
        self.allow_url && (self.hosts.is_empty() || self.hosts.iter().any(fits))
    }

    /// A picture that was fetched.
    pub fn fetched(&self, content_type: &str, bytes: &[u8]) -> Option<Picture> {
        let mime = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let fits = !bytes.is_empty() && bytes.len() <= self.max_bytes && self.takes(&mime);
        fits.then(|| Picture::Data { mime, data: BASE64.encode(bytes), size: bytes.len() })
    }
}

/// Whether pictures that are here do not hold too many bytes together.
pub fn fit_together(pictures: &[Picture]) -> bool {
    pictures.iter().map(Picture::size).fold(0, usize::saturating_add) <= limits::PICTURES_BYTES
}

fn strip_scheme<'a>(address: &'a str, scheme: &str) -> Option<&'a str> {
    address.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme))?;
    address.get(scheme.len()..)
}

fn host(address: &str) -> String {
    let authority = address.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(':').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rules: &Rules, address: &str) -> Option<Picture> {
        rules.read(&[address.to_string()]).map(|mut found| found.remove(0))
    }

    #[test]
    fn data_addresses_are_taken_by_type_and_size() {
        let rules = Rules::default();
        let Some(Picture::Data { mime, data, size }) = one(&rules, "data:image/PNG;charset=x;base64,AAAA") else {
            panic!("refused")
        };
        assert_eq!((mime.as_str(), data.as_str(), size), ("image/png", "AAAA", 3));
        for refused in [
            "data:image/png,AAAA",
            "data:image/svg+xml;base64,AAAA",
            "data:image/png;base64,***",
            "data:image/png;base64,",
            "data:;base64,AAAA",
            "data:image/png",
            "ftp://example.com/a.png",
            "",
        ] {
            assert_eq!(one(&rules, refused), None, "{refused}");
        }
        let small = Rules { max_bytes: 6, ..Rules::default() };
        assert!(one(&small, "data:image/png;base64,AAAAAAAA").is_some());
        assert_eq!(one(&small, "data:image/png;base64,AAAAAAAAAAA="), None);
        let of = |bytes: usize| one(&rules, &format!("data:image/png;base64,{}", BASE64.encode(vec![1; bytes])));
        assert!(of(limits::PICTURE_BYTES).is_some() && of(limits::PICTURE_BYTES + 1).is_none());
        let only = Rules { mimes: vec!["image/tiff".into()], ..Rules::default() };
        assert!(
            one(&only, "data:image/tiff;base64,AAAA").is_some() && one(&only, "data:image/png;base64,AAAA").is_none()
        );
    }

    #[test]
    fn other_addresses_need_the_operators_word() {
        let address = "https://Pics.example.com:8443/a.png";
        assert_eq!(one(&Rules::default(), address), None);
        let any = Rules { allow_url: true, ..Rules::default() };
        assert_eq!(one(&any, address), Some(Picture::Url(address.into())));
        let some = |host: &str| Rules { allow_url: true, hosts: vec![host.into()], ..Rules::default() };
        assert!(some("pics.example.com").may_fetch(address) && some("*.example.com").may_fetch(address));
        assert!(!some("*.ample.com").may_fetch(address) && !some("example.com").may_fetch(address));
    }

    #[test]
    fn eight_pictures_and_so_many_bytes() {
        let picture = "data:image/png;base64,AAAA".to_string();
        let rules = Rules::default();
        assert!(rules.read(&vec![picture.clone(); limits::PICTURES]).is_some());
        assert!(rules.read(&vec![picture; limits::PICTURES + 1]).is_none());
        let of = |size| Picture::Data { mime: String::new(), data: String::new(), size };
        assert!(fit_together(&[of(limits::PICTURES_BYTES - 1), of(1)]));
        assert!(!fit_together(&[of(limits::PICTURES_BYTES), of(1)]));
        assert!(rules.fetched("image/png; x", b"abc").is_some() && rules.fetched("text/html", b"abc").is_none());
    }
}
