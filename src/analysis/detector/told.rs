//! What has been said of late is no news: a surprise is told again only once it has grown, or been forgotten.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    half_life_hours: f64,
    /// How many times what was told a surprise has to be.
    margin: f64,
    told: f64,
}

impl Told {
    pub fn new(half_life_hours: f64, margin: f64) -> Told {
        Told { half_life_hours, margin, told: 0.0 }
    }

    /// `surprise`, if it is news; else nothing.
    pub fn news(&mut self, hours: f64, surprise: f64) -> f64 {
        self.told *= (-hours / self.half_life_hours).exp2();
        let news = if surprise > self.margin * self.told { surprise } else { 0.0 };
        self.told = self.told.max(surprise);
        news
    }

    /// The same for a surprise that grows slowly: nothing below `least` is told, and what was not told is not remembered,
    /// or it would hush itself all the way up.
    pub fn slow_news(&mut self, hours: f64, surprise: f64, least: f64) -> f64 {
        self.told *= (-hours / self.half_life_hours).exp2();
        if surprise < least || surprise <= self.margin * self.told {
            return 0.0;
        }
        self.told = surprise;
        surprise
    }
}
