pub const CHILDREN: &[crate::support::Role] = &[];
