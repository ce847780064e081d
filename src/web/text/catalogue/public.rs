//! The status page, beside what stands with the other lists.

use crate::web::text::catalogue::Entry;

pub const TEXTS: &[Entry] = &[
    ("status.strip", "Last 90 days: trouble on {bad}, {none} not measured", "90 روز گذشته: مشکل در {bad} روز، {none} روز سنجیده نشده"),
    ("status.day_up", "{} up", "{} برقرار"),
    ("status.days_ago", "90 days ago", "90 روز پیش"),
    ("status.today", "today", "امروز"),
    ("status.no_past", "The past cannot be read right now.", "گذشته اکنون خواندنی نیست."),
    ("status.legend_up", "up all day", "همهٔ روز برقرار"),
    ("status.legend_partly", "some checks failed or slow", "برخی بررسی‌ها ناموفق یا کُند"),
    ("status.windows", "Maintenance", "تعمیرات"),
    ("status.planned_windows", "Planned maintenance", "تعمیرات برنامه‌ریزی‌شده"),
    ("status.running", "Running", "در جریان"),
    ("status.planned", "Planned", "برنامه‌ریزی‌شده"),
    ("status.recent", "Incidents of the last 14 days", "رخدادهای 14 روز گذشته"),
    (
        "status.past_day",
        "{count} incidents on {day}: {all} in all, the longest {longest}",
        "{count} رخداد در {day}: روی‌هم {all}، بلندترین {longest}",
    ),
    ("status.opened", "Opened", "باز شد"),
    ("status.worked_on", "Being worked on", "در دست پیگیری"),
    ("status.maintained", "Planned maintenance began", "تعمیرات برنامه‌ریزی‌شده آغاز شد"),
    ("status.unwatched", "No longer checked", "دیگر بررسی نمی‌شود"),
    ("status.resolved", "Resolved", "برطرف شد"),
];
