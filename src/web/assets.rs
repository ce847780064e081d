//! Style sheet, scripts and picture of the pages: part of the binary, named by their content so that a browser keeps them for
//! ever and never keeps an old one.

use std::io::Cursor;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use flate2::Compression;
use rocket::get;
use rocket::http::{ContentType, Header, Status};
use rocket::request::Request;
use rocket::response::{self, Responder, Response};

use crate::api::error::ApiError;
use crate::store::codec::hex;
use crate::web::html::{gzip, takes_gzip};

/// Digits of the digest in a name.
const DIGITS: usize = 12;

pub struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    kind: ContentType,
    /// Where it is served: `/assets/app-0123456789ab.js`.
    path: String,
    packed: Vec<u8>,
}

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        ($name, include_bytes!(concat!("../../assets/", $name)).as_slice(), $kind)
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = [
        asset!("app.css", ContentType::CSS),
        asset!("app.js", ContentType::JavaScript),
        asset!("overview.js", ContentType::JavaScript),
        asset!("chart.js", ContentType::JavaScript),
        asset!("service.js", ContentType::JavaScript),
        asset!("form.js", ContentType::JavaScript),
        asset!("list.js", ContentType::JavaScript),
        asset!("incident.js", ContentType::JavaScript),
        asset!("digests.js", ContentType::JavaScript),
        asset!("board.js", ContentType::JavaScript),
        asset!("system.js", ContentType::JavaScript),
        asset!("icon.svg", ContentType::SVG),
    ];
    files.into_iter().map(|(name, bytes, kind)| Asset::new(name, bytes, kind)).collect()
});

impl Asset {
    fn new(name: &'static str, bytes: &'static [u8], kind: ContentType) -> Asset {
        let digits = &hex(digest(&SHA256, bytes).as_ref())[..DIGITS];
        let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
        Asset { name, bytes, kind, path: format!("/assets/{stem}-{digits}.{ending}"), packed: gzip(bytes, Compression::best()) }
    }
}

/// Where a file is served.
pub fn path(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.path.as_str())
}

pub struct Served(&'static Asset);

/// A file of the pages. Its name says its content, so it never changes.
#[get("/assets/<name>")]
pub fn file(name: &str) -> Result<Served, ApiError> {
    let found = ASSETS.iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(name));
    found.map(Served).ok_or_else(|| ApiError::not_found(format!("there is no file {name} of this version")))
}

impl<'r> Responder<'r, 'static> for Served {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let asset = self.0;
        let tag = format!("\"{}\"", asset.path);
        let mut response = Response::build();
        response.header(Header::new("Cache-Control", "public, max-age=31536000, immutable"));
        response.header(Header::new("Vary", "Accept-Encoding"));
        response.header(Header::new("ETag", tag.clone()));
        if request.headers().get_one("If-None-Match") == Some(tag.as_str()) {
            return response.status(Status::NotModified).ok();
        }
        response.header(asset.kind.clone());
        match takes_gzip(request) {
            true => response.header(Header::new("Content-Encoding", "gzip")).sized_body(asset.packed.len(), Cursor::new(&asset.packed)),
            false => response.sized_body(asset.bytes.len(), Cursor::new(asset.bytes)),
        };
        response.ok()
    }
}
