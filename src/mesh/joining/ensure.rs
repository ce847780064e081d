//! A node's start: its files, or joining with the long-lived secret where it has none.

use std::time::Duration;

use thiserror::Error;

use crate::clock::Clock;
use crate::config::sections::{MeshSettings, RegionSettings};
use crate::mesh::identity::{Identity, IdentityError};
use crate::mesh::joining::node::{Credential, JoinOrder, join};
use crate::mesh::joining::proof::JoinKey;
use crate::mesh::node_files::{NodeFiles, NodeFilesError};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A reason that stays the same is told again after so many tries.
const TELL_AGAIN: u32 = 20;

/// What no waiting mends.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EnsureError {
    #[error(
        "this machine has not joined a hub: run `probemesh join <token>` with a token made by `probemesh region-token {region}` on the hub"
    )]
    Stranger { region: String },
    #[error("a join secret is given but no hub to join: set mesh.hub")]
    NoHub,
    #[error("the configuration says {wanted}, but this machine has joined as {found}: mend [region], or join again")]
    OtherNode { wanted: Identity, found: Identity },
    #[error(transparent)]
    Name(#[from] IdentityError),
    #[error(transparent)]
    Files(#[from] NodeFilesError),
}

/// The files of this node. With a join secret and without files it joins, and waits for a hub that is away as long as it takes.
pub async fn ensure_joined(mesh: &MeshSettings, region: &RegionSettings, clock: &Clock) -> Result<NodeFiles, EnsureError> {
    let wanted = Identity::new(&region.name.0, &region.node.0)?;
    let folder = region.data_dir.join("mesh");
    let shared = mesh.join_secret.as_deref().zip(mesh.hub.as_deref());
    let kept = match NodeFiles::load(&folder)? {
        Some(files) if *files.identity() != wanted && shared.is_none() => {
            return Err(EnsureError::OtherNode { wanted, found: files.identity().clone() });
        }
        Some(files) if *files.identity() == wanted => Some(files),
        _ => None,
    };
    if let Some(mut files) = kept {
        match (files.check(clock.now()), shared) {
            (Ok(()), _) => {
                // An address in the configuration is newer than the one joined at.
                files.hub = mesh.hub.clone().unwrap_or(files.hub);
                return Ok(files);
            }
            (Err(NodeFilesError::Ended { until, .. }), Some(_)) => {
                tracing::warn!(ended = %until, "node certificate has ended, joining anew with the join secret");
            }
            (Err(error), _) => return Err(error.into()),
        }
    }
    let Some((secret, hub)) = shared else {
        return Err(match &mesh.join_secret {
            Some(_) => EnsureError::NoHub,
            None => EnsureError::Stranger { region: region.name.to_string() },
        });
    };
    tracing::info!(hub, node = %wanted.node, region = %wanted.region, "joining with the long-lived join secret");
    let credential = Credential::Shared(JoinKey::of_text(secret));
    Ok(keep_trying(&JoinOrder { address: hub.to_owned(), credential, identity: wanted, folder }, clock).await)
}

async fn keep_trying(order: &JoinOrder, clock: &Clock) -> NodeFiles {
    let (mut wait, mut told, mut since) = (FIRST_WAIT, None, 0);
    loop {
        let error = match join(order, clock).await {
            Ok(files) => {
                tracing::info!(hub = order.address, node = %order.identity.node, region = %order.identity.region, "joined");
                return files;
            }
            Err(error) => error,
        };
        since += 1;
        if told != Some(error.label()) || since >= TELL_AGAIN {
            tracing::warn!(hub = order.address, reason = error.label(), "cannot join yet, trying on: {error}");
            (told, since) = (Some(error.label()), 0);
        }
        // Between half of it and all of it, so that a fleet does not come at once.
        clock.sleep(wait.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
