//! A page on its way out: rendered, compressed for those who take that, kept by no cache.

use std::io::{Cursor, Write};

use askama::Template;
use flate2::Compression;
use flate2::write::GzEncoder;
use rocket::http::{ContentType, Header, Status};
use rocket::request::Request;
use rocket::response::{self, Responder, Response};

use crate::api::error::ApiError;

/// Smaller than this, compressing is not worth it.
const WORTH_IT: usize = 1024;

#[derive(Debug)]
pub struct Html(String);

impl Html {
    pub fn of(page: &impl Template) -> Result<Html, ApiError> {
        page.render().map(Html).map_err(|error| {
            tracing::error!(%error, "a page cannot be drawn");
            ApiError::new(Status::InternalServerError, "the page cannot be drawn")
        })
    }

    /// For what must be shown whatever happens.
    pub fn plain(text: String) -> Html {
        Html(text)
    }
}

impl<'r> Responder<'r, 'static> for Html {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        response.header(ContentType::HTML);
        response.header(Header::new("Cache-Control", "no-store"));
        response.header(Header::new("Vary", "Accept-Encoding, Cookie"));
        match self.0.len() >= WORTH_IT && takes_gzip(request) {
            true => {
                let packed = gzip(self.0.as_bytes(), Compression::fast());
                response.header(Header::new("Content-Encoding", "gzip")).sized_body(packed.len(), Cursor::new(packed));
            }
            false => {
                response.sized_body(self.0.len(), Cursor::new(self.0));
            }
        }
        response.ok()
    }
}

pub fn takes_gzip(request: &Request<'_>) -> bool {
    let mut wanted = request.headers().get("Accept-Encoding").flat_map(|line| line.split(','));
    wanted.any(|one| {
        let mut parts = one.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

pub fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}
