//! Which options curl has, as its manual lists them (8.17): the letters, which of them take a value, and which of them say nothing
//! about the request.
//!
//! An option that is in none of the lists is one without a value. A valued one that is missing here would have its value read as an
//! address, so the lists name them all.

/// The letters that have a long name, and that name.
const LETTERS: [(char, &str); 58] = [
    ('#', "progress-bar"),
    (':', "next"),
    ('0', "http1.0"),
    ('1', "tlsv1"),
    ('2', "sslv2"),
    ('3', "sslv3"),
    ('4', "ipv4"),
    ('6', "ipv6"),
    ('a', "append"),
    ('A', "user-agent"),
    ('b', "cookie"),
    ('B', "use-ascii"),
    ('c', "cookie-jar"),
    ('C', "continue-at"),
    ('d', "data"),
    ('D', "dump-header"),
    ('e', "referer"),
    ('E', "cert"),
    ('f', "fail"),
    ('F', "form"),
    ('g', "globoff"),
    ('G', "get"),
    ('h', "help"),
    ('H', "header"),
    ('i', "include"),
    ('I', "head"),
    ('j', "junk-session-cookies"),
    ('J', "remote-header-name"),
    ('k', "insecure"),
    ('K', "config"),
    ('l', "list-only"),
    ('L', "location"),
    ('m', "max-time"),
    ('M', "manual"),
    ('n', "netrc"),
    ('N', "no-buffer"),
    ('o', "output"),
    ('O', "remote-name"),
    ('p', "proxytunnel"),
    ('P', "ftp-port"),
    ('q', "disable"),
    ('Q', "quote"),
    ('r', "range"),
    ('R', "remote-time"),
    ('s', "silent"),
    ('S', "show-error"),
    ('t', "telnet-option"),
    ('T', "upload-file"),
    ('u', "user"),
    ('U', "proxy-user"),
    ('v', "verbose"),
    ('V', "version"),
    ('w', "write-out"),
    ('x', "proxy"),
    ('X', "request"),
    ('y', "speed-time"),
    ('Y', "speed-limit"),
    ('z', "time-cond"),
];

/// Options without a value that change nothing about the request as it is sent from here.
const SILENT: &str = "silent show-error verbose include show-headers fail fail-with-body fail-early progress-bar progress-meter \
    no-progress-meter buffer no-buffer compressed globoff remote-name remote-name-all remote-header-name remote-time disable basic \
    tlsv1 tlsv1.0 tlsv1.1 tlsv1.2 styled-output no-styled-output create-dirs remove-on-error clobber no-clobber skip-existing out-null \
    retry-all-errors retry-connrefused trace-time trace-ids suppress-connect-headers tcp-nodelay keepalive no-keepalive xattr \
    parallel-immediate";

/// Options with a value that change nothing about the request.
const SILENT_VALUED: &str = "output output-dir write-out connect-timeout retry retry-delay retry-max-time trace trace-ascii \
    trace-config dump-header stderr libcurl create-file-mode keepalive-time keepalive-cnt happy-eyeballs-timeout-ms expect100-timeout \
    parallel-max parallel-max-host rate etag-save";

/// Options with a value that is taken over.
const TAKEN_VALUED: &str = "request header data data-ascii data-binary data-urlencode data-raw json url url-query user oauth2-bearer \
    user-agent referer cookie max-time max-redirs proxy";

/// Options with a value that would change the request, and that a service has nothing for, or not by a file.
const TOLD_VALUED: &str = "abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config connect-to continue-at \
    cookie-jar crlfile curves delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url ech egd-file engine etag-compare \
    form form-string ftp-account ftp-alternative-to-user ftp-method ftp-port ftp-ssl-ccc-mode haproxy-clientip hostpubmd5 hostpubsha256 \
    hsts interface ip-tos ipfs-gateway key key-type knownhosts krb krb4 limit-rate local-port login-options mail-auth mail-from \
    mail-rcpt max-filesize netrc-file noproxy pass pinnedpubkey preproxy proto proto-default proto-redir proxy-cacert proxy-capath \
    proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key proxy-key-type proxy-pass proxy-pinnedpubkey \
    proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser proxy-user proxy1.0 pubkey quote \
    random-file range request-target resolve sasl-authzid service-name sigalgs socks4 socks4a socks5 socks5-gssapi-service \
    socks5-hostname speed-limit speed-time ssl-sessions telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype \
    tlspassword tlsuser unix-socket upload-file upload-flags variable vlan-priority";

/// The long name of a letter, without its dashes.
pub fn of_letter(letter: char) -> Option<&'static str> {
    LETTERS.iter().find(|(other, _)| *other == letter).map(|(_, name)| *name)
}

/// Whether an option, by its long name, takes a value; an `expand-` before it fills variables into one.
pub fn takes_value(name: &str) -> bool {
    name.starts_with("expand-") || [SILENT_VALUED, TAKEN_VALUED, TOLD_VALUED].iter().any(|list| has(list, name))
}

/// Whether an option, by its long name, says nothing about the request.
pub fn is_silent(name: &str) -> bool {
    has(SILENT, name) || has(SILENT_VALUED, name)
}

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|other| other == name)
}
