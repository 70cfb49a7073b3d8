//! Mistakes that can be put into the machine, to see that the simulator finds them. Without the
//! feature `mutations`, which only tests switch on, they are compiled to nothing.

use crate::config::Config;
use crate::machine::Scheduler;

macro_rules! mutations {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// A mistake, named after what is wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[cfg_attr(
            not(feature = "mutations"),
            expect(unreachable_pub, reason = "part of the crate's face with the feature only")
        )]
        pub enum Mutation { $($(#[$doc])+ $name,)+ }

        #[cfg(feature = "mutations")]
        impl Mutation {
            /// Every mistake that there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

mutations! {
    /// A worker's message counts whatever attempt it is about.
    StaleAccepted,
    /// A call that starts over keeps its attempt's number.
    AttemptNotRaised,
    /// A call that was stopped and is submitted anew uses the number of the old attempt.
    FenceForgotten,
    /// A result that is there is still counted as missing by its readers.
    MissingNotCountedDown,
    /// A call that is released still counts as a reader of its inputs.
    DependentsLeaked,
    /// A result that is lost with its worker is not computed again.
    LostNotRecomputed,
    /// A call that failed fails, though it has retries left.
    RetryForgotten,
    /// A lost worker's death is charged to all that it had in hand.
    AllInHandCharged,
    /// A call fails one death too early.
    DeathTooFew,
    /// What clients want is released when no call reads it any more.
    WantedFreed,
    /// The worker of a call that is stopped hears nothing of it.
    CancelNotTold,
    /// A client that asks for a result that is there hears nothing.
    LateClientNotTold,
    /// Of several clients that want a result only one is told.
    OneClientTold,
    /// A worker that is gone still counts as a holder.
    HolderKept,
    /// What was held back for a worker that is gone stays there.
    BacklogNotRehoused,
    /// What no worker could run is not looked at when one comes.
    HomelessForgotten,
    /// A call that was given back is not placed anew.
    WithdrawnDropped,
    /// Calls of a submission that has started count as part of it for ever.
    StagedLeaked,
    /// What a call took of a worker's resources is not given back.
    ResourcesKept,
    /// A worker may steal calls that are pinned elsewhere.
    PinsIgnored,
    /// The last of the calls that may run anywhere is given away first.
    OrderReversed,
    /// What an attempt submitted outlives it.
    SessionNotEnded,
    /// A call whose input failed goes on waiting.
    DependentsNotFailed,
    /// Copies that workers fetched are not remembered.
    CopyForgotten,
    /// Holders are not told to free a result.
    FreeNotTold,
    /// A detached call that has ended is kept for ever.
    DetachmentKept,
    /// A failed call that runs again is not said to do so.
    AgainNotTold,
    /// The calls of a dataset that is withdrawn are kept for ever.
    NamedKept,
    /// The calls of a client that is gone run on.
    GoneClientWants,
    /// What a client that is gone holds is not given back.
    LeaseKept,
    /// Items that a client did not take before it was gone are lost to others.
    ItemsKept,
    /// A call that asks to run elsewhere may run on the same worker again.
    SameWorkerAgain,
    /// A call that asks to run elsewhere never runs again.
    RescheduledDropped,
    /// A call may ask to run elsewhere for ever.
    ReschedulesUncounted,
    /// Workers are asked to give back what they run.
    RunningAskedBack,
    /// Workers are asked to give back what they would run next.
    AskedBackFirst,
    /// Workers are asked to give back what then belongs to them again.
    AskedBackInVain,
    /// A worker may steal calls whose inputs it has no memory for.
    TooLargeStolen,
    /// Workers are given far more than their slots hold.
    SaturationIgnored,
    /// What a worker's store may hold does not matter.
    MemoryIgnored,
    /// Calls whose inputs fit no worker wait for one.
    TooLargeNotRefused,
    /// A result that is freed still counts among its holder's bytes.
    HeldBytesKept,
    /// Strikes are not counted.
    StrikeNotCounted,
    /// Errors that tasks return count as strikes.
    UserErrorCounted,
    /// What is in quarantine runs nevertheless.
    QuarantineIgnored,
    /// While one task is in quarantine, all are.
    QuarantineSpreads,
    /// What is taken out of quarantine stays in it.
    ClearForgotten,
    /// Calls in a task's quarantine may still be stolen.
    StolenFromQuarantine,
    /// Data is brought to workers that are paused.
    BroughtToPaused,
    /// Copies that somebody asked for go when nobody reads them.
    AskedCopiesTrimmed,
    /// Data that nobody brings any more is awaited.
    AbandonedAwaited,
    /// What a worker offers from now on is not noted.
    ResourcesNotSet,
    /// What is held back for a worker stays there, though it offers something else from now on.
    TunedNotRehoused,
    /// What no worker could run is not looked at when one offers something else.
    TunedHomelessForgotten,
    /// A worker frees what it has just said again that it holds.
    HoldsCrossed,
}

impl Scheduler {
    /// Whether this mistake is in the machine.
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.config.mutated(mutation)
    }
}

impl Config {
    /// Whether this mistake is in the machine.
    #[cfg(feature = "mutations")]
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// There is no mistake that we know of.
    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "of the same form as with the feature")]
    pub(crate) const fn mutated(&self, _: Mutation) -> bool {
        false
    }
}
