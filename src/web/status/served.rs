//! What anyone may have, on its way out: with a tag of its content, kept by whoever likes for a few seconds.

use std::io::Cursor;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use flate2::Compression;
use rocket::http::{ContentType, Header, Status};
use rocket::request::Request;
use rocket::response::{self, Responder, Response};

use crate::api::error::ApiError;
use crate::store::codec::hex;
use crate::web::html::{gzip, takes_gzip};
use crate::web::status::snapshot::FRESH;

/// Smaller than this, compressing is not worth it.
const WORTH_IT: usize = 1024;
/// Digits of the digest in a tag.
const DIGITS: usize = 20;

pub struct Served {
    kind: ContentType,
    bytes: Vec<u8>,
    /// Pages of other hosts may read it.
    open: bool,
}

impl Served {
    pub fn page(page: &impl Template) -> Result<Served, ApiError> {
        Ok(Served { kind: ContentType::HTML, bytes: rendered(page)?.into_bytes(), open: false })
    }

    pub fn open(kind: ContentType, bytes: impl Into<Vec<u8>>) -> Served {
        Served { kind, bytes: bytes.into(), open: true }
    }
}

pub fn rendered(page: &impl Template) -> Result<String, ApiError> {
    page.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be drawn");
        ApiError::new(Status::InternalServerError, "the page cannot be drawn")
    })
}

impl<'r> Responder<'r, 'static> for Served {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let packs = self.bytes.len() >= WORTH_IT && takes_gzip(request);
        // The packed form is another one of the same, so it has a tag of its own.
        let ending = if packs { "-gz" } else { "" };
        let tag = format!("\"{}{ending}\"", &hex(digest(&SHA256, &self.bytes).as_ref())[..DIGITS]);
        let mut response = Response::build();
        response.header(Header::new("Cache-Control", format!("public, max-age={}", FRESH.as_secs())));
        response.header(Header::new("Vary", "Accept-Encoding, Accept-Language, Cookie"));
        response.header(Header::new("ETag", tag.clone()));
        if self.open {
            response.header(Header::new("Access-Control-Allow-Origin", "*"));
        }
        let mut known = request.headers().get("If-None-Match").flat_map(|line| line.split(','));
        if known.any(|one| one.trim().trim_start_matches("W/") == tag) {
            return response.status(Status::NotModified).ok();
        }
        response.header(self.kind);
        let bytes = if packs { gzip(&self.bytes, Compression::fast()) } else { self.bytes };
        if packs {
            response.header(Header::new("Content-Encoding", "gzip"));
        }
        response.sized_body(bytes.len(), Cursor::new(bytes)).ok()
    }
}
