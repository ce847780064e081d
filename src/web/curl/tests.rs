use super::*;

fn read(command: &str) -> Request {
    parse(command).unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_plain_address_is_a_get() {
    for command in [
        "curl https://api.example/health",
        "$ curl -sS https://api.example/health",
        "/usr/bin/curl --url https://api.example/health -o /dev/null",
    ] {
        assert_eq!(read(command), Request { url: "https://api.example/health".to_owned(), ..Request::default() }, "{command}");
    }
    assert_eq!(read("curl api.example:8080/x").url, "http://api.example:8080/x");
}

#[test]
fn what_a_browser_copies_is_understood() {
    let request = read(
        "curl 'https://shop.example/api/orders?page=1' \\\n  -X 'POST' \\\n  -H 'accept: application/json' \\\n  -H 'authorization: Bearer abc.def' \\\n  \
         -H 'content-type: application/json' \\\n  --data-raw '{\"note\":\"it'\\''s \\u0041\"}' \\\n  --compressed",
    );
    assert_eq!(request.url, "https://shop.example/api/orders?page=1");
    assert_eq!(request.method.as_deref(), Some("POST"));
    assert_eq!(request.headers, pairs(&[("accept", "application/json"), ("content-type", "application/json")]));
    assert_eq!(request.bearer.as_deref(), Some("abc.def"));
    assert_eq!(request.body.as_deref(), Some("{\"note\":\"it's \\u0041\"}"));
    assert!(request.unknown.is_empty(), "{:?}", request.unknown);
    assert_eq!(read("curl $'https://a.example/\\x41\\u00e9' --data-raw $'line\\none\\''").body.as_deref(), Some("line\none'"));
    assert_eq!(read("curl $'https://a.example/\\x41\\u00e9'").url, "https://a.example/Aé");
}

#[test]
fn data_makes_a_post_and_its_kind_is_said() {
    let request = read("curl https://a.example -d a=1 --data-urlencode 'b=x y&z'");
    assert_eq!((request.method.as_deref(), request.body.as_deref()), (Some("POST"), Some("a=1&b=x+y%26z")));
    assert_eq!(request.headers, pairs(&[("Content-Type", "application/x-www-form-urlencoded")]));
    let request = read("curl -XPUT https://a.example --json '{\"a\":1}'");
    assert_eq!((request.method.as_deref(), request.body.as_deref()), (Some("PUT"), Some("{\"a\":1}")));
    assert_eq!(request.headers, pairs(&[("Content-Type", "application/json"), ("Accept", "application/json")]));
    let request = read("curl -G https://a.example/?x=0 -d a=1 -d b=2");
    assert_eq!((request.url.as_str(), request.method, request.body), ("https://a.example/?x=0&a=1&b=2", None, None));
}

#[test]
fn the_usual_options_are_taken_over() {
    let request = read(
        "curl -kLI -u ada:s3:cret --max-time=2.5 -x http://proxy.example:3128 --http2 -4 -A 'me/1' -b 'a=1; b=2' -e http://r.example https://a.example",
    );
    assert!(request.insecure && request.follow);
    assert_eq!(request.method.as_deref(), Some("HEAD"));
    assert_eq!(request.user, Some(("ada".to_owned(), "s3:cret".to_owned())));
    assert_eq!((request.timeout_s.as_deref(), request.proxy.as_deref()), (Some("2.5"), Some("http://proxy.example:3128")));
    assert_eq!((request.http_version, request.ip_family), (Some("2"), Some("4")));
    assert_eq!(request.headers, pairs(&[("User-Agent", "me/1"), ("Cookie", "a=1; b=2"), ("Referer", "http://r.example")]));
}

#[test]
fn what_cannot_be_taken_over_is_told() {
    assert_eq!(read("curl --cert a.pem https://a.example").unknown, ["--cert"]);
    assert_eq!(read("curl -sZ https://a.example").unknown, ["-Z"]);
    for (command, error) in [
        ("wget https://a.example", CurlError::NotCurl),
        ("", CurlError::NotCurl),
        ("curl -H", CurlError::NoValue("-H".to_owned())),
        ("curl -s", CurlError::NoUrl),
        ("curl https://a.example https://b.example", CurlError::ManyUrls),
        ("curl 'https://a.example", CurlError::Unclosed('\'')),
        ("curl \"https://a.example", CurlError::Unclosed('"')),
        ("curl -d @body.json https://a.example", CurlError::FromFile("body.json".to_owned())),
        ("curl -b jar.txt https://a.example", CurlError::FromFile("jar.txt".to_owned())),
    ] {
        assert_eq!(parse(command), Err(error), "{command}");
    }
}
