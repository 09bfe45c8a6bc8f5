//! Learning rates by a function of the epoch.

use std::fmt;

use super::{Now, Rule};

/// A factor as a function of the group's number and the epoch.
type Factor = Box<dyn Fn(usize, u64) -> f64 + Send + Sync>;

macro_rules! lambdas {
    ($($(#[$doc:meta])* $name:ident |$factor:ident, $now:ident| $lr:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            factor: Factor,
        }

        impl $name {
            /// The factor as a function of the epoch, for all groups.
            pub fn new(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
                Self::per_group(move |_, epoch| factor(epoch))
            }

            /// The factor as a function of the group's number and the epoch.
            pub fn per_group(factor: impl Fn(usize, u64) -> f64 + Send + Sync + 'static) -> Self {
                $name { factor: Box::new(factor) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl Rule for $name {
            fn lr(&self, $now: &Now) -> f64 {
                let $factor = &self.factor;
                $lr
            }
        }
    )*};
}

lambdas! {
    /// The first learning rate times a function of the epoch.
    LambdaLR |factor, now| now.base_lr * factor(now.group, now.epoch);
    /// The last learning rate times a function of the epoch.
    MultiplicativeLR |factor, now| {
        if now.start { now.lr } else { now.lr * factor(now.group, now.epoch) }
    };
}
