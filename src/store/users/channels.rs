//! By which alert channel a user is told what is for them alone: that they were assigned to an issue, or mentioned in one.

use std::collections::BTreeMap;

use surrealdb::types::Value;

use crate::model::id::ChannelId;
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::users::{Users, UsersError, change};
use crate::store::values::{corrupt, int, rows, text};

pub(super) async fn read_all(database: &Database) -> Result<BTreeMap<String, ChannelId>, StoreError> {
    let mut answer = database.query("SELECT channel, record::id(id) AS username FROM user_channel", Vec::new()).await?;
    let channel = |row: crate::store::values::Row| {
        let channel = u32::try_from(row.int("channel")?).map_err(|error| corrupt("user", error))?;
        Ok((row.text("username")?.to_owned(), ChannelId(channel)))
    };
    rows(&mut answer, 0)?.into_iter().map(channel).collect()
}

impl Users {
    pub fn channel(&self, username: &str) -> Option<ChannelId> {
        self.channels.read().expect("no holder panics").get(username).copied()
    }

    /// The users who are told by this channel.
    pub fn told_by(&self, channel: ChannelId) -> Vec<String> {
        let channels = self.channels.read().expect("no holder panics");
        channels.iter().filter(|(_, told_by)| **told_by == channel).map(|(username, _)| username.clone()).collect()
    }

    /// `None`: the user is told by no channel any more. Tokens stay good.
    pub async fn set_channel(&self, username: &str, channel: Option<ChannelId>, author: &Author) -> Result<(), UsersError> {
        let _turn = self.turn.lock().await;
        self.kept(username)?;
        if self.channel(username) == channel {
            return Ok(());
        }
        let statements = match channel {
            Some(_) => "UPSERT type::record('user_channel', $username) SET channel = $channel RETURN NONE;",
            None => "DELETE type::record('user_channel', $username) RETURN NONE;",
        };
        let values = vec![("username", text(username)), ("channel", channel.map_or(Value::None, |channel| int(channel.0.into())))];
        self.audit.commit(statements, values, &change(author, "user.update", username, vec!["channel".to_owned()])).await?;
        let mut channels = self.channels.write().expect("no holder panics");
        match channel {
            Some(channel) => channels.insert(username.to_owned(), channel),
            None => channels.remove(username),
        };
        Ok(())
    }
}
