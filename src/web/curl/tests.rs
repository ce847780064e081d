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

/// A plain request for an address, to be changed.
fn plain(url: &str) -> Request {
    Request { url: url.to_owned(), ..Request::default() }
}

fn with_method(method: &str) -> Request {
    Request { method: Some(method.to_owned()), ..plain("http://a/") }
}

fn with_unknown(unknown: &[&str]) -> Request {
    Request { unknown: unknown.iter().map(|option| (*option).to_owned()).collect(), ..plain("http://a/") }
}

#[test]
fn a_letter_with_a_value_may_stand_at_the_end_of_several() {
    let user = Some(("user".to_owned(), "pa:ss".to_owned()));
    for (command, request) in [
        ("curl -sX POST http://a/", with_method("POST")),
        ("curl -sXPUT http://a/", with_method("PUT")),
        ("curl -so /dev/null -w '%{http_code}' http://a/", plain("http://a/")),
        ("curl -so/dev/null -w'%{http_code}' http://a/", plain("http://a/")),
        ("curl -ku user:pa:ss http://a/", Request { insecure: true, user, ..plain("http://a/") }),
        ("curl -#4sSLm 5 http://a/", Request { ip_family: Some("4"), follow: true, timeout_s: Some("5".to_owned()), ..plain("http://a/") }),
        ("curl -sHA:b http://a/", Request { headers: pairs(&[("A", "b")]), ..plain("http://a/") }),
        ("curl -sZn http://a/", with_unknown(&["-Z", "-n"])),
        ("curl -sé http://a/", with_unknown(&["-é"])),
    ] {
        assert_eq!(read(command), request, "{command}");
    }
    let request = read("curl -sXPUT http://a/ -d '{\"x\":1}'");
    assert_eq!((request.method.as_deref(), request.body.as_deref()), (Some("PUT"), Some("{\"x\":1}")));
    assert!(request.unknown.is_empty(), "{:?}", request.unknown);
    assert_eq!(parse("curl http://a/ -sX"), Err(CurlError::NoValue("-X".to_owned())));
}

#[test]
fn the_value_of_an_option_is_no_address() {
    for (options, unknown) in [
        ("--proto '=https' --tlsv1.2 -sSf", &["--proto"][..]),
        ("--retry 3 --retry-max-time 5 --retry-delay 1 --retry-all-errors", &[]),
        ("--socks5-hostname p:1 --preproxy p:2", &["--socks5-hostname", "--preproxy"]),
        ("-z yesterday -Y 1 -y 2 -C - -Q x -t y -P z", &["-z", "-Y", "-y", "-C", "-Q", "-t", "-P"]),
        ("--happy-eyeballs-timeout-ms 5 --stderr x --trace - --keepalive-time 3 -D -", &[]),
        ("--doh-url https://d --dns-servers 1.1.1.1 --noproxy '*'", &["--doh-url", "--dns-servers", "--noproxy"]),
        ("--unix-socket /run/x --netrc-file y -K z --pass w", &["--unix-socket", "--netrc-file", "-K", "--pass"]),
        ("--aws-sigv4 aws:amz -r 0-9 -T x --limit-rate 1k", &["--aws-sigv4", "-r", "-T", "--limit-rate"]),
        ("--variable a=b --expand-header 'X: {{a}}'", &["--variable", "--expand-header"]),
        ("-F a=@b --form-string c=d --max-redirs -1", &["-F", "--form-string", "--max-redirs"]),
        ("--fail-with-body --no-progress-meter --compressed --styled-output", &[]),
        ("--digest --tlsv1.3 --http3 --path-as-is", &["--digest", "--tlsv1.3", "--http3", "--path-as-is"]),
    ] {
        assert_eq!(read(&format!("curl {options} http://a/")), with_unknown(unknown), "{options}");
        assert_eq!(read(&format!("curl http://a/ {options}")), with_unknown(unknown), "{options}");
    }
    let request = read("curl -U a:b -x http://p:1 http://a/");
    assert_eq!((request.proxy.as_deref(), request.unknown), (Some("http://p:1"), vec!["-U".to_owned()]));
    let request = read("curl --max-redirs 3 -L http://a/");
    assert!(request.follow && request.unknown.is_empty());
    assert_eq!(request.redirects.as_deref(), Some("3"));
    assert_eq!(read("curl --url-query 'q=x y' --url-query +z=%20 http://a/?b=1").url, "http://a/?b=1&q=x+y&z=%20");
}

#[test]
fn the_command_ends_where_the_shell_ends_it() {
    for command in [
        "curl http://a/ | jq .",
        "curl http://a/|jq '.it is'",
        "curl http://a/ && echo ok",
        "curl http://a/ || echo 'down",
        "curl http://a/; curl http://b/",
        "curl http://a/ &",
        "curl http://a/ > file",
        "curl http://a/ >>file 2>&1 | tee x",
        "curl http://a/ 2>/dev/null",
        "curl 2> /dev/null http://a/ &> x",
        "curl < /dev/null http://a/",
        "sudo -E curl http://a/",
        "$ time -p curl http://a/",
        "TOKEN=1 LANG='a b' curl http://a/",
        "env A=1 curl http://a/",
    ] {
        assert_eq!(read(command), plain("http://a/"), "{command}");
    }
    assert_eq!(read("https_proxy=http://p:1 curl http://a/"), with_unknown(&["https_proxy"]));
    let request = read("curl 'http://a/?x=1&y=2;z|' -H \"A: b > c; d && e\" -d a\\&b $'-HX: |'");
    assert_eq!((request.url.as_str(), request.body.as_deref()), ("http://a/?x=1&y=2;z|", Some("a&b")));
    assert_eq!(request.headers[..2], pairs(&[("A", "b > c; d && e"), ("X", "|")]));
    // Without quotes the whole address is meant, and so is a placeholder of a manual.
    assert_eq!(read("curl http://a/?x=1&y=2 && echo").url, "http://a/?x=1&y=2");
    assert_eq!(read("curl http://a/<id>/x").url, "http://a/<id>/x");
    for command in ["echo x | curl http://a/", "A=b", "sudo", "1a=b curl http://a/", "-s curl http://a/"] {
        assert_eq!(parse(command), Err(CurlError::NotCurl), "{command}");
    }
}

#[test]
fn what_a_browser_copies_for_windows_is_understood() {
    let chrome = "curl ^\"http://h/p?a=1^&b=^%^41^\" ^\n  -X ^\"PUT^\" ^\n  -H ^\"A: it's b; c=^\\^\"d^\\^\"^\" ^\n  \
         --data-raw ^\"^{^\\^\"x^\\^\":1,^\\^\"y^\\^\":^\\^\"^\\^\\n ^> ^| 50^% ^^ ^$z^\\^\"^}^\n\nend^\" ^\n  --compressed ^\n  --insecure";
    for command in [chrome.to_owned(), chrome.replace('\n', "\r\n")] {
        let request = read(&command);
        assert_eq!((request.url.as_str(), request.method.as_deref()), ("http://h/p?a=1&b=%41", Some("PUT")), "{command}");
        assert_eq!(request.headers[..1], pairs(&[("A", "it's b; c=\"d\"")]));
        assert_eq!(request.body.as_deref(), Some("{\"x\":1,\"y\":\"\\n > | 50% ^ $z\"}\nend"));
        assert!(request.insecure && request.unknown.is_empty(), "{:?}", request.unknown);
    }
    let request = read("curl.exe \"http://h/?a=^1&b=2\" ^\n -H \"A: b\" ^\n --data \"{\\\"x\\\":1}\"^\n\n\"two\" -o C:\\tmp\\x");
    assert_eq!((request.url.as_str(), request.body.as_deref()), ("http://h/?a=^1&b=2", Some("{\"x\":1}\ntwo")));
    // Carets in the quotes of other shells are text.
    let request = read("curl http://h/ -d 'a ^\"b^\nc' -H \"X: \\\" ^\" -A $'it\\'s ^\\'\\u0021\\ud83d\\ude00'");
    assert_eq!(request.body.as_deref(), Some("a ^\"b^\nc"));
    assert_eq!(request.headers[..2], pairs(&[("X", "\" ^"), ("User-Agent", "it's ^'!😀")]));
    assert_eq!(read("curl.exe http://a/ `\n  -k"), Request { insecure: true, ..plain("http://a/") });
}

#[test]
fn nothing_that_is_said_twice_is_lost() {
    let request = read("curl http://a/ -H 'A: 1' -H 'a: 2' -b x=1 -H 'Cookie: y=2'");
    assert_eq!(request.headers, pairs(&[("A", "1"), ("a", "2"), ("Cookie", "x=1"), ("Cookie", "y=2")]));
    let request = read("curl http://a/ -H 'Authorization: Bearer one' -H 'Authorization: Bearer two'");
    assert_eq!((request.bearer.as_deref(), request.headers), (Some("one"), pairs(&[("Authorization", "Bearer two")])));
}

#[test]
fn a_file_is_no_text() {
    for command in
        ["curl http://a/ --json @f", "curl http://a/ --data-urlencode @f", "curl http://a/ --data-urlencode n@f", "curl http://a/ -sd@f"]
    {
        assert_eq!(parse(command), Err(CurlError::FromFile("f".to_owned())), "{command}");
    }
    assert_eq!(read("curl http://a/ --data-urlencode a=b@c").body.as_deref(), Some("a=b%40c"));
}
