//! What the first opener goes by: the log, or the files beside it. Pure.
//!
//! | log \ files | none | as saved | edited |
//! |---|---|---|---|
//! | none | make a new one | load | load |
//! | none, where there was one with more than was saved | refuse | refuse | refuse |
//! | reaches what the files stand for | use it | use it | load, with what the log has beyond |
//! | ends before that, as after a power cut | – | load | load |
//! | damaged otherwise | refuse | refuse | refuse |
//! | damaged, as a power cut may, and nothing of it beyond the files was acknowledged as power-safe | refuse | load, put the log aside | load, put the log aside |
//! | of other files, all of it saved there | – | load, put the log aside | load, put the log aside |
//! | of other files, with more than they have | – | refuse | refuse |

/// The files beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    None,
    AsSaved,
    Edited,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    None,
    /// There was one, and it had changes that were not saved.
    Missing,
    /// It has at least what the files stand for.
    Reaches,
    EndsBefore,
    Damaged {
        /// The power failed, and nothing says that more of it was on the disk than the files have; or whoever opens said that it may.
        may_go: bool,
    },
    /// The files do not stand for a transaction of it.
    OfOthers {
        is_saved: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    New,
    Use,
    Load,
    LoadWithRest,
    LoadAndPutAside,
    /// With the error that reading the log gave, if it did.
    Refuse,
}

pub(crate) fn choose(files: Files, log: Log) -> Action {
    match (log, files) {
        (Log::None, Files::None) => Action::New,
        (Log::Damaged { may_go: true } | Log::OfOthers { is_saved: true }, Files::AsSaved | Files::Edited) => Action::LoadAndPutAside,
        (Log::Missing | Log::Damaged { .. } | Log::OfOthers { is_saved: false }, _) => Action::Refuse,
        (Log::Reaches, Files::Edited) => Action::LoadWithRest,
        (_, Files::None) | (Log::Reaches, Files::AsSaved) => Action::Use,
        (Log::None | Log::EndsBefore, _) => Action::Load,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_documented() {
        use Action::*;
        let logs = [
            (Log::None, [New, Load, Load]),
            (Log::Missing, [Refuse, Refuse, Refuse]),
            (Log::Reaches, [Use, Use, LoadWithRest]),
            (Log::EndsBefore, [Use, Load, Load]),
            (Log::Damaged { may_go: false }, [Refuse, Refuse, Refuse]),
            (Log::Damaged { may_go: true }, [Refuse, LoadAndPutAside, LoadAndPutAside]),
            (Log::OfOthers { is_saved: true }, [Use, LoadAndPutAside, LoadAndPutAside]),
            (Log::OfOthers { is_saved: false }, [Refuse, Refuse, Refuse]),
        ];
        for (log, actions) in logs {
            for (files, action) in [Files::None, Files::AsSaved, Files::Edited].into_iter().zip(actions) {
                assert_eq!(choose(files, log), action, "{log:?}, {files:?}");
            }
        }
    }

    #[test]
    fn nothing_that_only_the_log_has_is_given_up() {
        for files in [Files::None, Files::AsSaved, Files::Edited] {
            assert!(!matches!(choose(files, Log::Reaches), Action::Load | Action::New));
            assert_eq!(choose(files, Log::OfOthers { is_saved: false }), Action::Refuse);
            assert_eq!(choose(files, Log::Damaged { may_go: false }), Action::Refuse);
            assert_eq!(choose(files, Log::Missing), Action::Refuse);
        }
    }
}
