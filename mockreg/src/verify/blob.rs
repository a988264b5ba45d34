//! Comparing one blob: both sides are read at once and hashed as they come.

use mockreg_proto::digest::{Digest, Digester};

use super::remote::{Get, Remote, RemoteError};
use super::work::{Pair, Work, remembered};

/// What a side has of a blob.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Bytes { digest: Digest, size: u64 },
}

impl Work {
    /// Compares a blob, once for each pair of repositories. What is wrong with it, if anything.
    pub(super) async fn blob(&self, pair: &Pair, digest: Digest) -> Result<Option<String>, RemoteError> {
        let cell = remembered(&self.blobs, (pair.clone(), digest));
        cell.get_or_try_init(|| self.compared(pair, digest)).await.cloned()
    }

    async fn compared(&self, pair: &Pair, digest: Digest) -> Result<Option<String>, RemoteError> {
        let (here, there) = tokio::join!(
            self.read(&self.source, &pair.source, digest),
            self.read(&self.destination, &pair.destination, digest)
        );
        self.noted(|report| report.blobs += 1);
        let (here, there) = (here?, there?);
        let named = |found: &Found| match found {
            Found::Nothing => "missing".to_owned(),
            Found::Bytes { digest: read, .. } if *read == digest => "as promised".to_owned(),
            Found::Bytes { digest, size } => format!("{size} bytes with digest {digest}"),
        };
        let right = |found: &Found| matches!(found, Found::Bytes { digest: read, .. } if *read == digest);
        if right(&here) && right(&there) {
            return Ok(None);
        }
        Ok(Some(format!(
            "blob {digest}: {} at the source, {} at the destination",
            named(&here),
            named(&there)
        )))
    }

    async fn read(&self, remote: &Remote, repository: &str, digest: Digest) -> Result<Found, RemoteError> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let mut answer = remote.get(Get::new(&path, repository, "*/*")).await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            answer.drained().await?;
            return Ok(Found::Nothing);
        }
        let (mut hash, mut size) = (Digester::new(digest.algorithm()), 0);
        while let Some(piece) = answer.next().await? {
            hash.update(&piece);
            size += piece.len() as u64;
            self.told(|progress| progress.bytes += piece.len() as u64);
        }
        Ok(Found::Bytes { digest: hash.finalize(), size })
    }
}
