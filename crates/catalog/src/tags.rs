//! What a song's file says about itself, as it is kept.

use std::sync::Arc;

use antiphon_audio::tags::{Cover, Found, Tags, read};
use antiphon_platform::blobs::BlobError;
use antiphon_platform::http::Problem;
use serde::{Deserialize, Serialize};

use crate::blob_file::BlobFile;
use crate::routes::Api;

/// Tags of a song, and what of them could not be read. Kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SongTags {
    /// What they say.
    pub(crate) tags: Tags,
    /// What could not be read, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

impl SongTags {
    /// As it is kept; nothing where there is nothing.
    pub(crate) fn json(&self) -> Option<String> {
        // Strings and finite numbers alone, which JSON takes.
        (*self != Self::default()).then(|| serde_json::to_string(self).ok()).flatten()
    }
}

/// The tags and the cover in the file of `length` bytes that was put under `blob`. Tags that are broken are none, and a
/// reason; only a blob store that fails is an error.
pub(crate) async fn of_file(api: &Api, blob: &str, length: u64) -> Result<(SongTags, Option<Cover>), Problem> {
    let file = BlobFile::new(Arc::clone(&api.blobs), blob, length);
    let found = match api.pool.run(move || read(file)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(blob, %error, "tags could not be read");
            Ok(unread("their reader failed"))
        }
    };
    let Found { tags, cover, warnings } = match found {
        Ok(found) => found,
        Err(error) => match error.downcast::<BlobError>() {
            Ok(error) => return Err(error.into()),
            Err(error) => unread(&error.to_string()),
        },
    };
    Ok((SongTags { tags, warnings }, cover))
}

fn unread(reason: &str) -> Found {
    Found { warnings: vec![format!("the tags were not read: {reason}")], ..Found::default() }
}
