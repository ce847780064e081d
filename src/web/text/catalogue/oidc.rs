//! The log-in by an identity provider, and being linked with it.

use crate::web::text::catalogue::Entry;

pub const TEXTS: &[Entry] = &[
    ("oidc.button", "Log in with {}", "ورود با {}"),
    ("oidc.or", "or", "یا"),
    (
        "oidc.away",
        "{} cannot be reached now. Log in with your password, or try again in a little while.",
        "{} اکنون در دسترس نیست. با گذرواژه وارد شوید یا کمی بعد دوباره بکوشید.",
    ),
    (
        "oidc.stale",
        "This log-in took too long, or was begun in another window. Please begin again.",
        "این ورود زمان زیادی برد یا در پنجرهٔ دیگری آغاز شده بود. لطفاً دوباره آغاز کنید.",
    ),
    ("oidc.untrusted", "What {} answered does not hold. The log of the hub says why.", "پاسخ {} درست نیست. گزارش هاب دلیل آن را می‌گوید."),
    ("oidc.refused", "{name} did not let you in: {why}", "{name} شما را راه نداد: {why}"),
    (
        "oidc.no_role",
        "{} knows you, but you have no role here. Ask an admin for one.",
        "{} شما را می‌شناسد، ولی اینجا نقشی ندارید. از مدیر بخواهید.",
    ),
    (
        "oidc.mail",
        "Your mail address is not one that may come in here, or was not verified.",
        "نشانی رایانامهٔ شما اینجا پذیرفته نیست یا تأیید نشده است.",
    ),
    (
        "oidc.no_user",
        "{} knows you, but there is no user here for you yet. Ask an admin for one.",
        "{} شما را می‌شناسد، ولی هنوز کاربری برای شما اینجا نیست. از مدیر بخواهید.",
    ),
    (
        "oidc.taken",
        "There is a user {user} here already. If that is you, log in with your password and link it with {name} on the account page.",
        "کاربر {user} اینجا هست. اگر خود شمایید، با گذرواژه وارد شوید و در صفحهٔ حساب آن را به {name} پیوند دهید.",
    ),
    (
        "oidc.bad_name",
        "{name} calls you {user}, and no user here can have that name. Ask an admin.",
        "{name} شما را {user} می‌نامد و هیچ کاربری اینجا نمی‌تواند این نام را داشته باشد. از مدیر بپرسید.",
    ),
    ("oidc.disabled", "Your user is disabled. Ask an admin.", "کاربر شما غیرفعال است. از مدیر بپرسید."),
    (
        "oidc.last_admin",
        "Your role would be less now, and you are the last admin here. Make another admin first.",
        "نقش شما اکنون کمتر می‌شود و شما تنها مدیر اینجایید. نخست مدیر دیگری بسازید.",
    ),
    ("oidc.title", "Log-in by {}", "ورود با {}"),
    ("oidc.why", "Log in here by your user at {}, without another password.", "با کاربر خود در {} وارد شوید، بی گذرواژه‌ای دیگر."),
    ("oidc.link", "Link with {}", "پیوند با {}"),
    ("oidc.link_do", "Link", "پیوند بده"),
    (
        "oidc.link_text",
        "At {name} you are {who}. Is that user {user} here? Then log in by {name} from now on, too; your role will be the one it gives you, now {role}.",
        "در {name} شما {who} هستید. آیا همان کاربر {user} در اینجایید؟ پس از این با {name} هم وارد شوید؛ نقشتان همانی خواهد بود که او می‌دهد، اکنون {role}.",
    ),
    ("oidc.linked", "linked", "پیوند داده شده"),
    ("oidc.unlink", "Unlink", "گسستن پیوند"),
    ("oidc.unlink_sure", "Without the link only a password lets this user in.", "بدون پیوند تنها گذرواژه این کاربر را راه می‌دهد."),
    ("oidc.only_way", "There is no password; it is the only way in.", "گذرواژه‌ای نیست؛ تنها راه ورود همین است."),
    ("user.channel", "Own alert channel", "کانال هشدار خود"),
    (
        "user.channel_help",
        "Tells this user what is for them alone: assignments and mentions.",
        "آنچه تنها برای این کاربر است به او می‌رسد: سپردن‌ها و یادکردها.",
    ),
    ("user.no_channel", "none", "هیچ"),
    ("user.set_channel", "Set channel", "نهادن کانال"),
];
