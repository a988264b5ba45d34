//! One repository that nobody pushed to: its images are planned by the catalogue or by its name, and built when they
//! are asked for.

use std::sync::Arc;

use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::reference::Reference;
use mockreg_synth::catalogue::{Plan, PlannedRepository};
use mockreg_synth::image::TagSpec;

use super::built::{self, Built};
use super::recent::ImageKey;
use super::search::{PATIENCE, Search, Searching};
use super::{Shared, computed};
use crate::content::Content;
use crate::manifest::Manifest;
use crate::store::Gone;

/// The only tag that a list shows of an image made from its name; it answers to any.
const SHOWN_TAG: &str = "latest";

/// A repository that nobody pushed to.
#[derive(Debug)]
pub(crate) struct Repository {
    shared: Arc<Shared>,
    /// Tells it from all others of the process, those of earlier catalogues among them.
    id: u64,
    name: Arc<str>,
    source: Source,
    search: Arc<Search>,
}

/// What says which images there are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A catalogue that has a repository of this name.
    Planned(Arc<Plan>),
    /// The name itself: one image under any tag.
    Named(Arc<TagSpec>),
}

impl Source {
    fn planned<'a>(&'a self, name: &str) -> Option<PlannedRepository<'a>> {
        match self {
            Self::Planned(plan) => plan.repository(name),
            Self::Named(_) => None,
        }
    }

    fn len(&self, name: &str) -> u32 {
        self.planned(name).map_or(1, |planned| planned.len())
    }

    fn image(&self, name: &str, number: u32) -> TagSpec {
        match self {
            Self::Planned(plan) => {
                plan.repository(name).expect("made for a repository of the plan").image(number)
            }
            Self::Named(spec) => TagSpec::clone(spec),
        }
    }
}

impl Repository {
    pub(super) fn new(shared: Arc<Shared>, name: &str, source: Source) -> Self {
        let id = shared.next_id();
        let search = Arc::new(Search::new(source.len(name)));
        Self { shared, id, name: name.into(), source, search }
    }

    /// The manifest that `reference` names.
    ///
    /// # Errors
    /// It is still looked for, as everywhere here where a digest is asked for.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Option<Arc<Manifest>>, Searching> {
        match reference {
            Reference::Tag(tag) => {
                let number = match self.source.planned(&self.name) {
                    Some(planned) => planned.find(tag.as_str()),
                    None => Some(0),
                };
                let Some(number) = number else { return Ok(None) };
                Ok(Some(Arc::clone(self.built(number).await.root())))
            }
            Reference::Digest(digest) => {
                Ok(self.holder(digest).await?.and_then(|built| built.manifest(digest)))
            }
        }
    }

    /// A blob of any of its images.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Option<Content>, Searching> {
        Ok(self.holder(digest).await?.and_then(|built| built.blob(digest)))
    }

    /// Its manifests that refer to `subject`.
    pub(crate) async fn referrers(&self, subject: &Digest) -> Result<Vec<Arc<Manifest>>, Searching> {
        // Where there are none, nobody has to compute a digest to find that out.
        let any = self.source.planned(&self.name).is_some_and(|planned| planned.has_referrers());
        let holder = if any { self.holder(subject).await? } else { None };
        Ok(holder.map(|built| built.referrers(subject)).unwrap_or_default())
    }

    /// Up to `most` of its tags after `last`, in byte order, but those that are gone.
    pub(crate) async fn tags_after(
        &self,
        last: Option<&str>,
        most: usize,
        gone: &Gone,
    ) -> Result<Vec<String>, Searching> {
        let mut dead = Vec::new();
        for digest in gone.manifests() {
            if let Some(built) = self.holder(digest).await?
                && built.root().digest == *digest
            {
                dead.push(built.spec().untagged());
            }
        }
        let Some(planned) = self.source.planned(&self.name) else {
            let shown =
                last.is_none_or(|last| SHOWN_TAG > last) && dead.is_empty() && !gone.has_tag_name(SHOWN_TAG);
            return Ok(if shown && most > 0 { vec![SHOWN_TAG.to_owned()] } else { Vec::new() });
        };
        // An image that is gone takes all tags along that name one like it.
        let is_dead = |tag: &str| {
            let image = planned.find(tag).map(|number| planned.image(number).untagged());
            image.is_some_and(|image| dead.contains(&image))
        };
        let tags = planned.tags_after(last).filter(|tag| !gone.has_tag_name(tag));
        Ok(tags.filter(|tag| dead.is_empty() || !is_dead(tag)).take(most).collect())
    }

    /// An image, built off the async threads by whoever asks first; the others wait.
    async fn built(&self, number: u32) -> Arc<Built> {
        let key = ImageKey { repository: self.id, number };
        let slot = self.shared.recent.slot(key);
        let build = || async {
            let (name, source, shared) =
                (Arc::clone(&self.name), self.source.clone(), Arc::clone(&self.shared));
            let spec = source.image(&name, number);
            let size = spec.size();
            let built = computed(&self.name, size, move || Arc::new(Built::new(name, spec, &shared.tables)));
            let built = built.await.expect("building a planned image does not panic");
            self.shared.recent.list(key, &built);
            built
        };
        Arc::clone(slot.get_or_init(build).await)
    }

    /// An image that holds a manifest or a blob. Where none was built lately that does, every image of the repository
    /// is looked through, once.
    async fn holder(&self, digest: &Digest) -> Result<Option<Arc<Built>>, Searching> {
        if digest.algorithm() != Algorithm::Sha256 {
            return Ok(None);
        }
        let number = match self.shared.recent.holder(self.id, digest) {
            Some(key) => Some(key.number),
            None if self.source.len(&self.name) == 1 => Some(0),
            None => self.searched(digest).await?,
        };
        let Some(number) = number else { return Ok(None) };
        let built = self.built(number).await;
        Ok(built.holds(digest).then_some(built))
    }

    async fn searched(&self, digest: &Digest) -> Result<Option<u32>, Searching> {
        let (name, source, shared) = (Arc::clone(&self.name), self.source.clone(), Arc::clone(&self.shared));
        let digests = move |number| built::digests(&source.image(&name, number), &shared.tables);
        self.search.begin(&self.name, &self.shared.searches, digests);
        self.search.find(digest, PATIENCE).await
    }
}
