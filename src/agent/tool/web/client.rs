//! The real client for pages: the house's HTTP with public addresses only. Knows nothing of what pages say.

use super::{Page, Web};
use crate::agent::control::Control;
use crate::agent::http::{Client, Deadlines, HttpError, Reach, Request, Settings, plain};
use crate::limits;

/// Pages over the house's HTTP client.
#[derive(Clone, Debug)]
pub struct HttpWeb {
    settings: Settings,
    /// Anything but public addresses is for tests, whose servers are on this machine.
    reach: Reach,
    /// Bytes of a body that are read.
    most: usize,
}

impl HttpWeb {
    /// A client with the process's HTTP settings; proxies are not used, because a proxy would look up names itself.
    pub fn new(settings: Settings) -> HttpWeb {
        HttpWeb { settings, reach: Reach::Public, most: limits::WEB_BYTES }
    }

    /// A client that reads so many bytes of a body.
    pub fn reading(self, most: usize) -> HttpWeb {
        HttpWeb { most, ..self }
    }

    fn fetch(&self, url: &str, control: &Control) -> Result<Page, HttpError> {
        let client = Client::new(url, &self.settings, self.reach)?;
        let accept = "text/html,application/xhtml+xml,text/plain,text/*;q=0.9,application/json;q=0.8,*/*;q=0.1";
        let headers = [plain("Accept", accept), plain("Accept-Language", "en,*;q=0.5")];
        let deadlines =
            Deadlines { connect: limits::WEB_CONNECT, first: limits::WEB_SILENCE, between: limits::WEB_SILENCE };
        let mut answer = client.send(&Request { url, headers: &headers, body: None, deadlines }, control)?;
        answer.steady();
        let mut page = Page {
            status: answer.status,
            location: answer.header("location").map(String::from),
            content_type: answer.header("content-type").unwrap_or_default().to_string(),
            ..Page::default()
        };
        let mut buf = [0; 8192];
        while !page.cut {
            let count = answer.read(&mut buf, u64::MAX)?;
            if count == 0 {
                break;
            }
            let room = self.most.saturating_sub(page.body.len());
            page.body.extend_from_slice(buf.get(..count.min(room)).unwrap_or_default());
            page.cut = count > room;
        }
        Ok(page)
    }
}

#[cfg(test)]
impl HttpWeb {
    /// A client that may also ask this machine.
    pub(super) fn anywhere() -> HttpWeb {
        HttpWeb { settings: Settings::default(), reach: Reach::Anywhere, most: limits::WEB_BYTES }
    }
}

impl Web for HttpWeb {
    fn get(&self, url: &str, control: &Control) -> Result<Page, String> {
        self.fetch(url, control).map_err(|fault| fault.to_string())
    }
}
