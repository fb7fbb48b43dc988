//! The command as a person uses it: the real binary, in pipes and in a terminal, with real files, real signals and real kills.

mod add;
mod bad_input;
mod cases;
mod damage;
mod inspect;
mod joblogs;
mod kills;
mod run;
mod stores;
mod support;
mod terminal;
mod tidy;
