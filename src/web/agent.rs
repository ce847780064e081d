//! What a browser says it is → which browser on which system, for people.
//!
//! Browsers name those they are like, too, so that the first one known in the order here is the one it is (see "Browser detection
//! using the user agent string" of MDN).

const BROWSERS: [(&str, &str); 8] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// `Chrome 140 · Linux`; what is not known is told as it was said.
pub fn name(said: &str) -> String {
    let found = BROWSERS.iter().find_map(|(mark, name)| said.split_once(mark).map(|(_, rest)| (*name, rest)));
    let Some((name, rest)) = found else { return said.to_owned() };
    let version: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let system = SYSTEMS.iter().find(|(mark, _)| said.contains(mark)).map(|(_, name)| format!(" · {name}"));
    format!("{name} {version}{}", system.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_by_its_name_its_version_and_its_system() {
        let like = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        let apple = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        for (said, told) in [
            (like.to_owned(), "Chrome 140 · Linux"),
            (format!("{like} Edg/140.0.1"), "Edge 140 · Linux"),
            (format!("{apple} Version/18.5 Mobile/15E148 Safari/604.1"), "Safari 18 · iPhone"),
            (format!("{apple} CriOS/140.0 Mobile/15E148 Safari/604.1"), "Chrome 140 · iPhone"),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0".to_owned(), "Firefox 143 · Windows"),
            ("curl/8.14.1".to_owned(), "curl/8.14.1"),
            (String::new(), ""),
        ] {
            assert_eq!(name(&said), told, "{said}");
        }
    }
}
