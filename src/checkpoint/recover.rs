//! What becomes of each shard when a checkpoint is ended that somebody began: by him, or after his death. Pure.
//!
//! A checkpoint writes the new shards aside, makes an *intent* power-safe (the manifest that is to hold), renames the shards, and
//! puts the intent in the manifest's place. Of a shard whose manifest and intent differ:
//!
//! | in its place | aside | |
//! |---|---|---|
//! | what the intent says | any | done |
//! | what the manifest says | what the intent says | install |
//! | what the manifest says, or not | anything else | the checkpoint cannot be ended: the file was edited, or what was written is gone |
//! | anything else | any | the file was edited |

use crate::checkpoint::manifest::{Digest, Manifest, Saved};
use crate::checkpoint::names::ShardName;

/// What is done with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    Install,
    /// Somebody else changed the file.
    Edited,
}

/// Decides for one shard: what the manifest and the intent say of it, and what is found in its place and aside.
pub(crate) fn step(old: Option<&Saved>, new: &Saved, in_place: Option<Digest>, aside: Option<Digest>) -> Step {
    let is_new = |digest: Option<Digest>| digest.is_some_and(|digest| new.is(digest));
    let is_old = match (old, in_place) {
        (Some(old), Some(digest)) => old.is(digest),
        (None, None) => true,
        _ => false,
    };
    match () {
        () if is_new(in_place) => Step::Done,
        () if is_old && is_new(aside) => Step::Install,
        () => Step::Edited,
    }
}

/// The shards that an intent changes, by number.
pub(crate) fn changed(old: Option<&Manifest>, new: &Manifest) -> Vec<u64> {
    let same_names = old.is_some_and(|old| old.settings.gzipped == new.settings.gzipped);
    let is_changed = |number: &u64| !same_names || saved_in(old, *number) != saved_in(Some(new), *number);
    (0..new.shards.len() as u64).filter(is_changed).collect()
}

/// The files that a manifest names and an intent does not.
pub(crate) fn dropped(old: Option<&Manifest>, new: &Manifest) -> Vec<ShardName> {
    let names = |manifest: &Manifest| -> Vec<ShardName> {
        (0..manifest.shards.len() as u64).map(|number| ShardName { number, gzipped: manifest.settings.gzipped }).collect()
    };
    let kept = names(new);
    old.map(names).unwrap_or_default().into_iter().filter(|name| kept.binary_search(name).is_err()).collect()
}

/// What a manifest says of a shard.
pub(crate) fn saved_in(manifest: Option<&Manifest>, number: u64) -> Option<&Saved> {
    manifest?.shards.get(usize::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::Hex;
    use crate::store::core::settings::Settings;

    fn saved(hash: u64) -> Saved {
        Saved(1, 10, 10, Hex(hash), String::new())
    }

    fn digest(hash: u64) -> Digest {
        Digest { bytes: 10, hash }
    }

    #[test]
    fn the_table_is_as_documented() {
        let (old, new, other) = (1, 2, 3);
        for was in [None, Some(old)] {
            for in_place in [None, Some(old), Some(new), Some(other)] {
                for aside in [None, Some(old), Some(new), Some(other)] {
                    let expected = match (in_place, aside) {
                        (Some(2), _) => Step::Done,
                        _ if in_place == was && aside == Some(new) => Step::Install,
                        _ => Step::Edited,
                    };
                    let found = step(was.map(saved).as_ref(), &saved(new), in_place.map(digest), aside.map(digest));
                    assert_eq!(found, expected, "{was:?} in the manifest, {in_place:?} in place, {aside:?} aside");
                }
            }
        }
    }

    #[test]
    fn an_ended_step_is_done() {
        // Installing lets both files change places; whoever looks again finds nothing to do.
        let (old, new) = (saved(1), saved(2));
        assert_eq!(step(Some(&old), &new, Some(digest(1)), Some(digest(2))), Step::Install);
        assert_eq!(step(Some(&old), &new, Some(digest(2)), Some(digest(1))), Step::Done);
        assert_eq!(step(Some(&old), &new, Some(digest(2)), None), Step::Done);
    }

    #[test]
    fn a_change_of_form_changes_every_name() {
        let plain = Manifest::new(Settings::default(), None, 1, vec![saved(1), saved(2), saved(3)], 1);
        let gzipped = Settings { gzipped: true, ..Settings::default() };
        let packed = Manifest::new(gzipped, None, 1, vec![saved(1), saved(2)], 2);
        assert_eq!(changed(Some(&plain), &packed), [0, 1]);
        assert_eq!(dropped(Some(&plain), &packed).iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.json", "1.json", "2.json"]);
        let mut shorter = plain.clone();
        shorter.shards = vec![saved(1), saved(9)];
        assert_eq!(changed(Some(&plain), &shorter), [1]);
        assert_eq!(dropped(Some(&plain), &shorter), [ShardName { number: 2, gzipped: false }]);
        assert_eq!((changed(None, &plain), dropped(None, &plain)), (vec![0, 1, 2], vec![]));
    }
}
