//! Lists of tasks that are none.

mod one {
    /// The first.
    #[grid_sdk::task]
    pub fn same() {}
}

mod two {
    /// The second.
    #[grid_sdk::task]
    pub fn same() {}
}

mod unnamed {
    pub struct Plain;
}

mod twice {
    grid_sdk::bundle!(super::one::same, super::two::same);
}

mod no_task {
    grid_sdk::bundle!(super::one::same, super::unnamed::Plain);
}

mod empty {
    grid_sdk::bundle!();
}

fn main() {}
