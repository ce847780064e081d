//! Where it broke, in the language of the reader. The monitor writes that line in English and keeps it so; its words are few, so
//! that it can be told in another language word by word. What is not among them is shown as it is.

use crate::web::text::{Lang, Text};

/// What is seen, in the words of `aggregate::broke`; `{}` is a span, a day or a number.
const SYMPTOMS: [(&str, &str); 36] = [
    ("was failing", "ناموفق بود"),
    ("DNS fails", "خطای DNS"),
    ("connect refused", "اتصال رد شد"),
    ("network unreachable", "شبکه در دسترس نیست"),
    ("connection reset", "اتصال قطع شد"),
    ("connect times out after {}", "اتصال پس از {} برقرار نشد"),
    ("connect fails", "اتصال برقرار نشد"),
    ("TLS handshake fails", "دست‌دهی TLS ناموفق"),
    ("TLS handshake times out after {}", "دست‌دهی TLS پس از {} به پایان نرسید"),
    ("no answer within {}", "بی‌پاسخ پس از {}"),
    ("answer stalls, not whole after {}", "پاسخ پس از {} کامل نشد"),
    ("unexpected status", "کد وضعیت خلاف انتظار"),
    ("status {}", "کد وضعیت {}"),
    ("header not as expected", "سرآیند خلاف انتظار"),
    ("body not as expected", "بدنه خلاف انتظار"),
    ("JSON not as expected", "JSON خلاف انتظار"),
    ("answer too large", "پاسخ بسیار بزرگ"),
    ("redirect not as expected", "تغییر مسیر خلاف انتظار"),
    ("address is blocked for checks", "نشانی برای بررسی مسدود است"),
    ("answer is not valid HTTP", "پاسخ HTTP معتبر نیست"),
    ("the check itself fails", "خود بررسی ناموفق است"),
    ("certificate expired on {}", "گواهی در {} منقضی شد"),
    ("certificate expired", "گواهی منقضی شده است"),
    ("certificate not valid before {}", "گواهی پیش از {} معتبر نیست"),
    ("certificate not valid yet", "گواهی هنوز معتبر نیست"),
    ("certificate is for another name", "گواهی برای نام دیگری است"),
    ("certificate is not trusted", "گواهی مورد اعتماد نیست"),
    ("certificate was revoked", "گواهی باطل شده است"),
    ("certificate expires on {}", "گواهی در {} منقضی می‌شود"),
    ("certificate is refused", "گواهی پذیرفته نشد"),
    ("DNS takes {}", "DNS {} طول می‌کشد"),
    ("connect takes {}", "اتصال {} طول می‌کشد"),
    ("TLS handshake takes {}", "دست‌دهی TLS {} طول می‌کشد"),
    ("first byte takes {}", "نخستین بایت {} طول می‌کشد"),
    ("transfer takes {}", "انتقال {} طول می‌کشد"),
    ("answer takes {}", "پاسخ {} طول می‌کشد"),
];

impl Text {
    /// The first line of an incident; a text that is none stays as it is.
    pub fn first_line(self, line: &str) -> String {
        let told: Option<Vec<String>> = line.split("; ").map(group).collect();
        match (self.0, told) {
            (Lang::Persian, Some(told)) => told.join("؛ "),
            _ => line.to_owned(),
        }
    }
}

/// What regions that saw the same have in common. `None`: it is not in the known words.
fn group(part: &str) -> Option<String> {
    if let Some(count) = part.strip_suffix(" more") {
        return count.parse::<u32>().ok().map(|count| format!("{count} مورد دیگر"));
    }
    if let Some((told, place)) = part.rsplit_once(" in ") {
        let told = over(told.trim_end_matches(','))?;
        let place = match place.strip_suffix(" regions").and_then(|counts| counts.split_once(" of ")) {
            Some((some, all)) if some == all => format!("هر {all} ناحیه"),
            Some((some, all)) => format!("{some} ناحیه از {all}"),
            None => place.to_owned(),
        };
        return Some(format!("{told} در {place}"));
    }
    let (region, told) = part.split_once(": ")?;
    let told = over(told)?;
    Some(match region.strip_prefix("only ") {
        Some(region) => format!("فقط {region}: {told}"),
        None => format!("{region}: {told}"),
    })
}

fn over(told: &str) -> Option<String> {
    match told.strip_suffix(" only").and_then(|told| told.rsplit_once(" over ")) {
        Some((told, family)) => Some(format!("{} فقط با {family}", symptom(told)?)),
        None => symptom(told),
    }
}

fn symptom(told: &str) -> Option<String> {
    if let Some(told) = told.strip_suffix(" (another one than before)") {
        return Some(format!("{} (جز گواهی پیشین)", symptom(told)?));
    }
    SYMPTOMS.iter().find_map(|(english, persian)| match english.split_once("{}") {
        Some((before, _)) => told.strip_prefix(before).map(|value| persian.replace("{}", value)),
        None => (told == *english).then(|| (*persian).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_line_is_told_in_persian_and_names_stay() {
        for (line, told) in [
            ("TLS handshake fails in 3 of 3 regions", "دست‌دهی TLS ناموفق در هر 3 ناحیه"),
            ("status 503 in local", "کد وضعیت 503 در local"),
            ("only eu-west: DNS takes 2.1 s", "فقط eu-west: DNS 2.1 s طول می‌کشد"),
            ("connect refused over IPv6 only, in 2 of 3 regions", "اتصال رد شد فقط با IPv6 در 2 ناحیه از 3"),
            ("only a: connect refused over IPv6 only", "فقط a: اتصال رد شد فقط با IPv6"),
            ("only a: certificate expired on 2026-11-20 (another one than before)", "فقط a: گواهی در 2026-11-20 منقضی شد (جز گواهی پیشین)"),
            ("status 503 in 2 of 4 regions; c: DNS fails; 2 more", "کد وضعیت 503 در 2 ناحیه از 4؛ c: خطای DNS؛ 2 مورد دیگر"),
            ("status 503 in a; words nobody knows in b", "status 503 in a; words nobody knows in b"),
        ] {
            assert_eq!(Text(Lang::Persian).first_line(line), told);
            assert_eq!(Text(Lang::English).first_line(line), line);
        }
    }

    #[test]
    fn every_word_the_line_is_made_of_is_known() {
        let source = include_str!("../../aggregate/broke.rs");
        let words = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let made =
            source.lines().filter(|line| line.contains("Reason::") || line.contains("plain_changed(state") || line.contains(" takes\""));
        let texts: Vec<String> = made.filter_map(|line| words(line).pop()).filter(|text| text.contains(' ')).collect();
        assert!(texts.len() > 25, "{texts:?}");
        for text in texts {
            let text = text.replace("{}", "7").replace("{status}", "7");
            let spans = [text.clone(), format!("{text} 7 s")];
            assert!(spans.iter().any(|text| symptom(text).is_some()), "{text:?} is not told in Persian");
        }
    }
}
